/** Made from allod/server/openapi.json by `npm run types`: do not edit. */

export interface paths {
    "/livez": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Liveness
         * @description Says ok while the process answers at all.
         */
        get: operations["read_liveness"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Readiness
         * @description Whether every part that requests need works.
         */
        get: operations["read_readiness"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/activity": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Activity
         * @description The log, newest first.
         */
        get: operations["list_activity"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/activity/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Stream Activity
         * @description The log from an id on, as it grows: server-sent events, or JSON.
         */
        get: operations["stream_activity"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/blocks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Store Blocks
         * @description Store the blocks of a CARv1 of at most 16 MiB. One bad block refuses the part, and the problem names it.
         *
         *     Blocks wait a day for the commit that needs them.
         */
        post: operations["store_blocks"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/blocks/{cid}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Block
         * @description A block: ciphertext, or a document that is public or sealed. Check its hash; it never changes.
         */
        get: operations["read_block"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        /**
         * Probe Block
         * @description Whether a block is here, and how long it is.
         */
        head: operations["probe_block"];
        patch?: never;
        trace?: never;
    };
    "/v1/blocks/missing": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Find Missing Blocks
         * @description Which of these blocks are not here: send those, and nothing else.
         *
         *     What you sent yourself and did not commit yet is kept for another day by asking.
         */
        post: operations["find_missing_blocks"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/claims": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create Claim
         * @description Have what can be claimed paid out to you; the relayer pays the gas.
         */
        post: operations["create_claim"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/consent_nonces": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create Consent Nonce
         * @description A nonce for one new consent. It is yours: nobody, and no other tab, gets it again.
         */
        post: operations["create_consent_nonce"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/consents": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Consents
         * @description The consents that you signed, or that name you or that you took, newest first.
         */
        get: operations["list_consents"];
        put?: never;
        /**
         * Create Consent
         * @description Have a consent for a trainer granted on chain, or list an open offer.
         */
        post: operations["create_consent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/datasets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Datasets
         * @description All datasets, newest first, narrowed down by any of these.
         */
        get: operations["list_datasets"];
        put?: never;
        /**
         * Publish Dataset
         * @description Put a dataset on chain and into the catalogue; once more with other terms adds those.
         *
         *     Its public documents are kept for good, of one owner as much as a vault may have: beyond it 507 `no-room`. Few
         *     publications are read at once; 503 says when to come back.
         */
        post: operations["publish_dataset"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/datasets/{asset}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Dataset
         * @description A dataset's card, counts, terms and the newest 20 of its open offers.
         */
        get: operations["read_dataset"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/earnings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Earnings
         * @description What every job owes or paid you.
         */
        get: operations["list_earnings"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/jobs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Jobs
         * @description The account's jobs, newest first, without their payees, refusals, losses and transactions.
         */
        get: operations["list_jobs"];
        put?: never;
        /**
         * Create Job
         * @description Start the job of a quote with the signed opening: the runner locks the money and queues it.
         */
        post: operations["create_job"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/jobs/{job}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Job
         * @description One job of the account's own.
         */
        get: operations["read_job"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/jobs/{job}/bundle": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Bundle
         * @description The public bundle of a finished job as a tar: adapter, statement and evidence (docs/format/72-provenance.md).
         */
        get: operations["read_bundle"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/jobs/{job}/cancellation": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Cancel Job
         * @description Wish that the job ends. Before the first release all comes back; later only what is not owed, if `agreed`.
         */
        post: operations["cancel_job"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/jobs/{job}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Stream Job Events
         * @description What happens to a job, as it happens: server-sent events, or JSON. The last one has the kind `published`.
         */
        get: operations["stream_job_events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/nonces": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create Nonce
         * @description A nonce that one sign-in message may carry within the next five minutes.
         */
        post: operations["create_nonce"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Operations
         * @description Your operations, newest first.
         */
        get: operations["list_operations"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operations/{operation_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Operation
         * @description One of your operations.
         */
        get: operations["read_operation"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/quotes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create Quote
         * @description Ask the runner what a job costs. No money moves; the answer is at `GET /v1/quotes/{id}`.
         */
        post: operations["create_quote"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/quotes/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Quote
         * @description A quote of the account that is signed in.
         */
        get: operations["read_quote"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/requests": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Requests
         * @description Requests to you as an owner, or by you as a trainer, newest first.
         */
        get: operations["list_requests"];
        put?: never;
        /**
         * Create Request
         * @description Ask the owner of a listed dataset for a consent.
         */
        post: operations["create_request"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/requests/{request_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Request
         * @description A request of which you are the owner or the trainer.
         */
        get: operations["read_request"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/requests/{request_id}/denial": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Deny Request
         * @description Say no, as the owner.
         */
        post: operations["deny_request"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/requests/{request_id}/withdrawal": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Withdraw Request
         * @description Take it back, as the trainer.
         */
        post: operations["withdraw_request"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/revocations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create Revocation
         * @description Have consents ended: `keepers` of the operation says who has stored it, its state what the chain has.
         */
        post: operations["create_revocation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create Session
         * @description Sign in: the answer sets the session's cookie.
         */
        post: operations["create_session"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions/current": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Session
         * @description Who is signed in, and the CSRF token again.
         */
        get: operations["read_session"];
        put?: never;
        post?: never;
        /**
         * End Session
         * @description Sign out.
         */
        delete: operations["end_session"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/vaults/mine": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Vault
         * @description The newest head of your vault.
         */
        get: operations["read_vault"];
        /**
         * Commit Vault
         * @description Make a head your vault, once all that it needs is here; doing it again changes nothing.
         *
         *     409 `conflict` names the newest head in `head` where `previous` is another one; 422 `incomplete` names up to 1000
         *     blocks to send in `missing`. What the vault does not need any more is deleted, unless somebody else does.
         *     Few commits are worked on at once; 503 says when to come back.
         */
        put: operations["commit_vault"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/verifications/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Verification
         * @description Every sentence about a finished job, checked now against chain, blocks and bundle.
         */
        get: operations["read_verification"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/world": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read World
         * @description Chain, contracts, keepers, runner, and who operates them.
         */
        get: operations["read_world"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * ActivityOut
         * @description One entry of the log: `kind` says what happened, `data` to what.
         */
        ActivityOut: {
            /**
             * At
             * @description Unix seconds.
             */
            at: number;
            /** Data */
            data: {
                [key: string]: unknown;
            };
            /** Id */
            id: number;
            /** Kind */
            kind: string;
        };
        /**
         * State
         * @description How far an operation is.
         * @enum {string}
         */
        allod__operations__State: "accepted" | "sent" | "included" | "final" | "failed";
        /**
         * State
         * @description Where a request stands.
         * @enum {string}
         */
        allod__requests__State: "open" | "approved" | "approved_with_changes" | "denied" | "withdrawn" | "expired";
        /**
         * KeeperOut
         * @description One keeper.
         */
        allod__server__about__KeeperOut: {
            /**
             * Address
             * @description An account: 20 bytes of hex.
             */
            address: `0x${string}`;
            /** Endpoint */
            endpoint: string;
            /** Hpke Key */
            hpke_key: `0x${string}`;
            /** Index */
            index: number;
        };
        /**
         * KeeperOut
         * @description Whether one keeper has stored a revocation durably, else why not.
         */
        allod__server__operations__KeeperOut: {
            /**
             * Address
             * @description An account: 20 bytes of hex.
             */
            address: `0x${string}`;
            /** Index */
            index: number;
            /** Reason */
            reason: string | null;
            /** Stored */
            stored: boolean;
        };
        /**
         * CancellationIn
         * @description A wish to stop. `agreed`: pay what is owed by then; without it a job that was released data goes on.
         */
        CancellationIn: {
            /**
             * Agreed
             * @default false
             */
            agreed?: boolean;
        };
        /**
         * CardOut
         * @description What the owner says in public; the sample is made up.
         */
        CardOut: {
            /** Description */
            description: string;
            /** Sample */
            sample: string;
            /** Schema */
            schema: string[];
            /** Title */
            title: string;
        };
        /**
         * ClaimIn
         * @description Which jobs' payments to claim; none is all that can be.
         */
        ClaimIn: {
            /** Job Ids */
            job_ids?: `0x${string}`[];
        };
        /**
         * CommitIn
         * @description A new head, whose blocks were sent before.
         */
        CommitIn: {
            /**
             * Head
             * @description A CIDv1 in base32.
             */
            head: string;
            /**
             * Previous
             * @description The head that the change was made to; null for the first.
             */
            previous: string | null;
            /**
             * Proof
             * @description Ed25519 by the head's key over `allod/vault-account/v1`, a zero byte, the account and the vault_id. With it nobody else can have this vault bound to an account of theirs; send it with every commit.
             */
            proof?: `0x${string}` | null;
        };
        /**
         * CommitteeOut
         * @description The accepted keepers. `document` is the signed text itself: check its signatures, and trust no other field.
         */
        CommitteeOut: {
            /** Document */
            document: string;
            /**
             * End
             * @description Unix seconds.
             */
            end: number;
            /**
             * Hash
             * @description 32 bytes of hex.
             */
            hash: `0x${string}`;
            /**
             * Id
             * @description 32 bytes of hex.
             */
            id: `0x${string}`;
            /** Keepers */
            keepers: components["schemas"]["allod__server__about__KeeperOut"][];
            /** N */
            n: number;
            /** Q */
            q: number;
            /** T */
            t: number;
        };
        /**
         * ConsentForm
         * @description The struct that an owner signs (docs/format/60-consent.md); `grantee` zero makes it an offer.
         */
        ConsentForm: {
            /**
             * Asset
             * @description 32 bytes of hex.
             */
            asset: `0x${string}`;
            /**
             * Escrow
             * @description An account: 20 bytes of hex.
             */
            escrow: `0x${string}`;
            /**
             * Expiry
             * @description Unix seconds.
             */
            expiry: number;
            /**
             * Grantee
             * @description An account: 20 bytes of hex.
             */
            grantee: `0x${string}`;
            /**
             * Max Uses
             * @description Jobs; 0 is unlimited.
             */
            max_uses: number;
            /**
             * Nonce
             * @description epoch32 ‖ word56 ‖ bit8, in decimal.
             */
            nonce: string;
            /**
             * Not Before
             * @description Unix seconds.
             */
            not_before: number;
            /**
             * Owner
             * @description An account: 20 bytes of hex.
             */
            owner: `0x${string}`;
            /**
             * Purpose
             * @description 32 bytes of hex.
             */
            purpose: `0x${string}`;
            /**
             * Runner
             * @description An account: 20 bytes of hex.
             */
            runner: `0x${string}`;
            /**
             * Terms
             * @description 32 bytes of hex.
             */
            terms: `0x${string}`;
        };
        /**
         * ConsentIn
         * @description A consent with its owner's signature; `request` names the request that it answers.
         */
        ConsentIn: {
            consent: components["schemas"]["ConsentForm"];
            /** Request */
            request?: string | null;
            /**
             * Signature
             * @description A signature: 65 bytes, or what a wallet takes.
             */
            signature: `0x${string}`;
        };
        /**
         * ConsentNonceIn
         * @description `above` is the highest word ‖ bit of any nonce that you ever signed, or -1.
         */
        ConsentNonceIn: {
            /**
             * Above
             * @default -1
             */
            above?: string;
        };
        /**
         * ConsentNonceOut
         * @description A nonce that is given out once.
         */
        ConsentNonceOut: {
            /**
             * Nonce
             * @description epoch32 ‖ word56 ‖ bit8, in decimal.
             */
            nonce: string;
        };
        /**
         * ConsentOut
         * @description The struct that an owner signed.
         */
        ConsentOut: {
            /**
             * Asset
             * @description 32 bytes of hex.
             */
            asset: `0x${string}`;
            /**
             * Escrow
             * @description An account: 20 bytes of hex.
             */
            escrow: `0x${string}`;
            /**
             * Expiry
             * @description Unix seconds.
             */
            expiry: number;
            /**
             * Grantee
             * @description An account: 20 bytes of hex.
             */
            grantee: `0x${string}`;
            /**
             * Max Uses
             * @description Jobs; 0 is unlimited.
             */
            max_uses: number;
            /**
             * Nonce
             * @description epoch32 ‖ word56 ‖ bit8, in decimal.
             */
            nonce: string;
            /**
             * Not Before
             * @description Unix seconds.
             */
            not_before: number;
            /**
             * Owner
             * @description An account: 20 bytes of hex.
             */
            owner: `0x${string}`;
            /**
             * Purpose
             * @description 32 bytes of hex.
             */
            purpose: `0x${string}`;
            /**
             * Runner
             * @description An account: 20 bytes of hex.
             */
            runner: `0x${string}`;
            /**
             * Terms
             * @description 32 bytes of hex.
             */
            terms: `0x${string}`;
        };
        /**
         * ConsentRowOut
         * @description A consent with what the chain says of it now. An offer has a token for each taker.
         */
        ConsentRowOut: {
            consent: components["schemas"]["ConsentOut"];
            /**
             * Digest
             * @description 32 bytes of hex.
             */
            digest: `0x${string}`;
            /** Is Offer */
            is_offer: boolean;
            /** Jobs */
            jobs: components["schemas"]["UsedOut"][];
            /** Last Used */
            last_used: number | null;
            /** Nonce Revoked */
            nonce_revoked: boolean;
            /** Number */
            number: number;
            price: components["schemas"]["PriceOut"] | null;
            /** Purpose */
            purpose: string | null;
            /**
             * Signature
             * @description A signature: 65 bytes, or what a wallet takes.
             */
            signature: `0x${string}`;
            /**
             * Signed
             * @description Unix seconds.
             */
            signed: number;
            /** Title */
            title: string | null;
            /** Tokens */
            tokens: components["schemas"]["TokenOut"][];
        };
        /**
         * ContractsOut
         * @description The contracts' addresses.
         */
        ContractsOut: {
            /**
             * Consent Token
             * @description An account: 20 bytes of hex.
             */
            consent_token: `0x${string}`;
            /**
             * Currency
             * @description An account: 20 bytes of hex.
             */
            currency: `0x${string}`;
            /**
             * Escrow
             * @description An account: 20 bytes of hex.
             */
            escrow: `0x${string}`;
            /**
             * Registry
             * @description An account: 20 bytes of hex.
             */
            registry: `0x${string}`;
        };
        /**
         * CurrencyOut
         * @description What jobs pay in. Amounts in the API are UNITs, of which `unit_decimals` places are fractions of one.
         */
        CurrencyOut: {
            /** Decimals */
            decimals: number;
            /** Symbol */
            symbol: string;
            /** Unit Decimals */
            unit_decimals: number;
        };
        /**
         * DatasetDetailOut
         * @description A dataset's whole public side.
         */
        DatasetDetailOut: {
            /**
             * Asset
             * @description 32 bytes of hex.
             */
            asset: `0x${string}`;
            card: components["schemas"]["CardOut"];
            /** Expiry */
            expiry: number | null;
            /** Objects */
            objects: number;
            /** Offers */
            offers: components["schemas"]["OfferOut"][];
            /**
             * Owner
             * @description An account: 20 bytes of hex.
             */
            owner: `0x${string}`;
            price: components["schemas"]["PriceOut"] | null;
            /**
             * Publication
             * @description A CIDv1 in base32.
             */
            publication: string;
            /**
             * Published
             * @description Unix seconds.
             */
            published: number;
            /** Purposes */
            purposes: string[];
            /** Records */
            records: number;
            terms: components["schemas"]["TermsOut"] | null;
            /** Terms Hash */
            terms_hash: `0x${string}` | null;
            /** Title */
            title: string;
        };
        /**
         * DatasetOut
         * @description A dataset as the list shows it, under the terms that it was listed with; null where those are not known here.
         */
        DatasetOut: {
            /**
             * Asset
             * @description 32 bytes of hex.
             */
            asset: `0x${string}`;
            /** Expiry */
            expiry: number | null;
            /** Objects */
            objects: number;
            /**
             * Owner
             * @description An account: 20 bytes of hex.
             */
            owner: `0x${string}`;
            price: components["schemas"]["PriceOut"] | null;
            /**
             * Published
             * @description Unix seconds.
             */
            published: number;
            /** Purposes */
            purposes: string[];
            /** Records */
            records: number;
            /** Terms Hash */
            terms_hash: `0x${string}` | null;
            /** Title */
            title: string;
        };
        /**
         * DenialIn
         * @description Why not.
         */
        DenialIn: {
            /**
             * Reason
             * @default
             */
            reason?: string;
        };
        /**
         * EarningOut
         * @description One payment of one job; `tx_hash` is the transaction that paid it.
         */
        EarningOut: {
            /**
             * Amount
             * @description Money, in whole UNITs of the currency.
             */
            amount: string;
            /** Asset */
            asset: `0x${string}` | null;
            /**
             * Claims Begin
             * @description Unix seconds.
             */
            claims_begin: number;
            /**
             * Claims End
             * @description Unix seconds.
             */
            claims_end: number;
            /**
             * Consent Id
             * @description 32 bytes of hex.
             */
            consent_id: `0x${string}`;
            /**
             * Job Id
             * @description 32 bytes of hex.
             */
            job_id: `0x${string}`;
            /**
             * State
             * @enum {string}
             */
            state: "in_escrow" | "claimable" | "paid" | "expired";
            /** Tx Hash */
            tx_hash: `0x${string}` | null;
        };
        /**
         * EarningsOut
         * @description A page of payments, newest job first, and the sums of all.
         */
        EarningsOut: {
            /** Data */
            data: components["schemas"]["EarningOut"][];
            /** Has More */
            has_more: boolean;
            /** Next After */
            next_after?: string | null;
            totals: components["schemas"]["TotalsOut"];
        };
        /**
         * FailureOut
         * @description Why an operation failed: the kind of error, what happened, what to do next.
         */
        FailureOut: {
            /** Detail */
            detail: string;
            /** Hint */
            hint: string;
            /** Status */
            status: number;
            /** Type */
            type: string;
        };
        /**
         * Flaw
         * @description One thing that is wrong with a request: where, and why.
         */
        Flaw: {
            /**
             * At
             * @description Where it is: body, query, path or header, and the names below it.
             */
            at: string;
            /**
             * Message
             * @description What is wrong with it.
             */
            message: string;
        };
        /**
         * JobEventOut
         * @description One event of a job, numbered from 1; `data` depends on its kind.
         */
        JobEventOut: {
            /** At */
            at: number;
            /** Data */
            data: {
                [key: string]: unknown;
            };
            /** Id */
            id: number;
            /** Kind */
            kind: string;
        };
        /**
         * JobIn
         * @description The quote, and its opening as the payer signed it: the raw transaction.
         */
        JobIn: {
            /** Quote */
            quote: string;
            /** Transaction */
            transaction: `0x${string}`;
        };
        /**
         * JobOut
         * @description A job of the account that is signed in. `money` says in a sentence what happens if nothing more is done.
         */
        JobOut: {
            /**
             * Adapter
             * @description SHA-256 of adapter_model.safetensors, once it is published.
             */
            adapter: `0x${string}` | null;
            /**
             * Cancellation
             * @description asked or agreed while it waits; then cancelled, declined or not-open.
             */
            cancellation: string | null;
            /**
             * Created
             * @description Unix seconds.
             */
            created: number;
            /**
             * Id
             * @description Its number here.
             */
            id: string;
            /**
             * Job Id
             * @description Its id on chain, once it is open.
             */
            job_id: `0x${string}` | null;
            ledger?: components["schemas"]["LedgerOut"] | null;
            /** Locked */
            locked?: string | null;
            /**
             * Losses
             * @default {}
             */
            losses?: {
                [key: string]: unknown;
            };
            /** Money */
            money?: string | null;
            /** Outcome */
            outcome?: string | null;
            /** Owed If Cancelled */
            owed_if_cancelled?: string | null;
            /**
             * Payees
             * @default []
             */
            payees?: components["schemas"]["LeafOut"][];
            progress?: components["schemas"]["ProgressOut"] | null;
            /**
             * Published
             * @default false
             */
            published?: boolean;
            /** Refunded */
            refunded?: string | null;
            /**
             * Refusals
             * @default []
             */
            refusals?: components["schemas"]["RefusalOut"][];
            /**
             * State
             * @description quoted, opening, open, releasing, training, confirming, settling or done.
             */
            state: string;
            /** To Be Claimed */
            to_be_claimed?: string | null;
            /**
             * Transactions
             * @default []
             */
            transactions?: {
                [key: string]: unknown;
            }[];
        };
        /**
         * LeafOut
         * @description One payee: what is locked for it, and, once the job is over, what it may claim. The fee has no consent.
         */
        LeafOut: {
            /** Consent */
            consent: `0x${string}` | null;
            /**
             * Locked
             * @description Money, in whole UNITs of the currency.
             */
            locked: string;
            /**
             * Payee
             * @description An account: 20 bytes of hex.
             */
            payee: `0x${string}`;
            /** To Be Claimed */
            to_be_claimed: string | null;
        };
        /**
         * LedgerOut
         * @description What the job's ledger counts.
         */
        LedgerOut: {
            /** Attempts */
            attempts: number;
            /** Entries */
            entries: number;
            /** Record Epochs */
            record_epochs: number;
            /**
             * Root
             * @description 32 bytes of hex.
             */
            root: `0x${string}`;
            /** Tokens */
            tokens: number;
        };
        /**
         * LeftOutOut
         * @description A consent that does not fit, and why.
         */
        LeftOutOut: {
            /**
             * Consent
             * @description 32 bytes of hex.
             */
            consent: `0x${string}`;
            /**
             * Owner
             * @description An account: 20 bytes of hex.
             */
            owner: `0x${string}`;
            /** Reasons */
            reasons: string[];
        };
        /**
         * LimitsOut
         * @description What fits into one request.
         */
        LimitsOut: {
            /** Block Bytes */
            block_bytes: number;
            /** Cids Per Question */
            cids_per_question: number;
            /** Part Bytes */
            part_bytes: number;
        };
        /**
         * MissingOut
         * @description Those of the blocks asked for that are not here, in order.
         */
        MissingOut: {
            /** Missing */
            missing: string[];
        };
        /**
         * NonceOut
         * @description A nonce for one sign-in message.
         */
        NonceOut: {
            /**
             * Expires At
             * @description Unix seconds.
             */
            expires_at: number;
            /** Nonce */
            nonce: string;
        };
        /**
         * OfferOut
         * @description An open offer: whoever sends consent and signature to the ConsentToken's `take` holds a token of their own.
         */
        OfferOut: {
            consent: components["schemas"]["ConsentOut"];
            /**
             * Digest
             * @description 32 bytes of hex.
             */
            digest: `0x${string}`;
            /** Purpose */
            purpose: string | null;
            /**
             * Signature
             * @description A signature: 65 bytes, or what a wallet takes.
             */
            signature: `0x${string}`;
            terms: components["schemas"]["TermsOut"] | null;
        };
        /**
         * OpeningOut
         * @description The transaction to sign (EIP-1559), from the payer's account. Nonce, gas and fees may be others; no other field.
         *
         *     `data` opens the job in the escrow's `lane` and locks `total` of the payer's deposit; at `start`, Unix seconds, the
         *     owners may claim whatever happens.
         */
        OpeningOut: {
            /** Chain Id */
            chain_id: number;
            /** Data */
            data: `0x${string}`;
            /** Gas */
            gas: number;
            /**
             * Lane
             * @description Money, in whole UNITs of the currency.
             */
            lane: string;
            /**
             * Max Fee Per Gas
             * @description Money, in whole UNITs of the currency.
             */
            max_fee_per_gas: string;
            /**
             * Max Priority Fee Per Gas
             * @description Money, in whole UNITs of the currency.
             */
            max_priority_fee_per_gas: string;
            /** Nonce */
            nonce: number;
            /**
             * Start
             * @description Unix seconds.
             */
            start: number;
            /**
             * To
             * @description An account: 20 bytes of hex.
             */
            to: `0x${string}`;
            /**
             * Type
             * @constant
             */
            type: 2;
            /**
             * Value
             * @description Money, in whole UNITs of the currency.
             */
            value: string;
        };
        /**
         * OperationOut
         * @description One relayed act. `final` once the chain's node calls its block safe; `about` says what it was about.
         *
         *     A revocation is certain once `about.needed` of its keepers have stored it, as far as those are honest.
         */
        OperationOut: {
            /** About */
            about: {
                [key: string]: unknown;
            };
            /** Block */
            block: number | null;
            /**
             * Changed
             * @description Unix seconds.
             */
            changed: number;
            /**
             * Created
             * @description Unix seconds.
             */
            created: number;
            /** Id */
            id: string;
            /** Keepers */
            keepers: components["schemas"]["allod__server__operations__KeeperOut"][];
            /** Kind */
            kind: string;
            problem: components["schemas"]["FailureOut"] | null;
            state: components["schemas"]["allod__operations__State"];
            /** Transactions */
            transactions: `0x${string}`[];
            /** Tx Hash */
            tx_hash: `0x${string}` | null;
        };
        /**
         * OperatorsOut
         * @description Who operates each part: one sentence each, of a keeper in the order of their indices.
         */
        OperatorsOut: {
            /** Keepers */
            keepers: string[];
            /** Runner */
            runner: string;
            /** Server */
            server: string;
        };
        /** Page[ActivityOut] */
        Page_ActivityOut_: {
            /** Data */
            data: components["schemas"]["ActivityOut"][];
            /** Has More */
            has_more: boolean;
            /** Next After */
            next_after?: string | null;
        };
        /** Page[ConsentRowOut] */
        Page_ConsentRowOut_: {
            /** Data */
            data: components["schemas"]["ConsentRowOut"][];
            /** Has More */
            has_more: boolean;
            /** Next After */
            next_after?: string | null;
        };
        /** Page[DatasetOut] */
        Page_DatasetOut_: {
            /** Data */
            data: components["schemas"]["DatasetOut"][];
            /** Has More */
            has_more: boolean;
            /** Next After */
            next_after?: string | null;
        };
        /** Page[JobEventOut] */
        Page_JobEventOut_: {
            /** Data */
            data: components["schemas"]["JobEventOut"][];
            /** Has More */
            has_more: boolean;
            /** Next After */
            next_after?: string | null;
        };
        /** Page[JobOut] */
        Page_JobOut_: {
            /** Data */
            data: components["schemas"]["JobOut"][];
            /** Has More */
            has_more: boolean;
            /** Next After */
            next_after?: string | null;
        };
        /** Page[OperationOut] */
        Page_OperationOut_: {
            /** Data */
            data: components["schemas"]["OperationOut"][];
            /** Has More */
            has_more: boolean;
            /** Next After */
            next_after?: string | null;
        };
        /** Page[RequestOut] */
        Page_RequestOut_: {
            /** Data */
            data: components["schemas"]["RequestOut"][];
            /** Has More */
            has_more: boolean;
            /** Next After */
            next_after?: string | null;
        };
        /**
         * PartOut
         * @description One part: whether it works, and a sentence about it.
         */
        PartOut: {
            /** Ready */
            ready: boolean;
            /** Reason */
            reason: string;
        };
        /**
         * PayeeOut
         * @description Who is paid what for which consent.
         */
        PayeeOut: {
            /**
             * Amount
             * @description Money, in whole UNITs of the currency.
             */
            amount: string;
            /**
             * Consent
             * @description 32 bytes of hex.
             */
            consent: `0x${string}`;
            /**
             * Owner
             * @description An account: 20 bytes of hex.
             */
            owner: `0x${string}`;
            /**
             * Payee
             * @description An account: 20 bytes of hex.
             */
            payee: `0x${string}`;
            /** Records */
            records: number;
        };
        /**
         * PriceOut
         * @description What a job pays: once, and for each record and epoch.
         */
        PriceOut: {
            /**
             * Flat
             * @description Money, in whole UNITs of the currency.
             */
            flat: string;
            /**
             * Per Record Epoch
             * @description Money, in whole UNITs of the currency.
             */
            per_record_epoch: string;
        };
        /**
         * Problem
         * @description An error, as RFC 9457 writes it; further members are facts for programs, such as `head` or `missing`.
         */
        Problem: {
            /**
             * Detail
             * @description What went wrong this time.
             */
            detail: string;
            /**
             * Errors
             * @description Each flaw, where the request is not of its form.
             * @default null
             */
            errors?: components["schemas"]["Flaw"][] | null;
            /**
             * Hint
             * @description What to do next; may be empty.
             */
            hint: string;
            /**
             * Instance
             * @description The path that was asked.
             */
            instance: string;
            /**
             * Status
             * @description The HTTP status.
             */
            status: number;
            /**
             * Title
             * @description The kind in words.
             */
            title: string;
            /**
             * Trace Id
             * @description Names this very answer in the server's log.
             */
            trace_id: string;
            /**
             * Type
             * @description What kind of error: `urn:allod:problem:` and a stable slug.
             */
            type: string;
        } & {
            [key: string]: unknown;
        };
        /**
         * ProgressOut
         * @description The last completed step of training that was told.
         */
        ProgressOut: {
            /** Loss */
            loss: number | null;
            /** Owners */
            owners: number | null;
            /** Step */
            step: number | null;
            /** Steps */
            steps: number | null;
            /** Tokens */
            tokens: number | null;
        };
        /**
         * PublicationIn
         * @description The block that links header, terms and share table, and the owner's signature of Register.
         */
        PublicationIn: {
            /**
             * Publication
             * @description A CIDv1 in base32.
             */
            publication: string;
            /**
             * Signature
             * @description A signature: 65 bytes, or what a wallet takes.
             */
            signature: `0x${string}`;
        };
        /**
         * PurposeOut
         * @description A purpose that a consent can name.
         */
        PurposeOut: {
            /** Code */
            code: string;
            /**
             * Hash
             * @description 32 bytes of hex.
             */
            hash: `0x${string}`;
            /** Iri */
            iri: string;
            /** Label */
            label: string;
        };
        /**
         * QuestionIn
         * @description Blocks of which somebody wants to know whether they are here.
         */
        QuestionIn: {
            /** Cids */
            cids: string[];
        };
        /**
         * QuoteIn
         * @description A wish: the ids of consent tokens that the payer holds, the recipe, and what the runner gets.
         */
        QuoteIn: {
            /** Consents */
            consents: `0x${string}`[];
            /**
             * Fee
             * @description Money, in whole UNITs of the currency.
             * @default 0
             */
            fee?: string;
            recipe: components["schemas"]["RecipeIn"];
        };
        /**
         * QuoteOut
         * @description A quote: `ready` to be signed until `expires_at`, once the runner has answered.
         *
         *     `refused` is final, and `problem` says why. A quote that is `waiting` or `ready` with a problem was signed, and the
         *     chain did not take that; nothing was locked.
         */
        QuoteOut: {
            /**
             * Created
             * @description Unix seconds.
             */
            created: number;
            /** Expires At */
            expires_at: number | null;
            /** Fee */
            fee?: string | null;
            /** Id */
            id: string;
            /**
             * Job
             * @description The job, once the opening was signed.
             */
            job?: string | null;
            /**
             * Left Out
             * @default []
             */
            left_out?: components["schemas"]["LeftOutOut"][];
            opening?: components["schemas"]["OpeningOut"] | null;
            /**
             * Payees
             * @default []
             */
            payees?: components["schemas"]["PayeeOut"][];
            /** Problem */
            problem?: {
                [key: string]: unknown;
            } | null;
            /** Recipe */
            recipe?: `0x${string}` | null;
            /**
             * State
             * @enum {string}
             */
            state: "waiting" | "ready" | "refused" | "expired" | "signed" | "opened";
            /** Total */
            total?: string | null;
        };
        /**
         * ReadinessOut
         * @description Whether requests may come, and each part of the answer.
         */
        ReadinessOut: {
            /** Parts */
            parts: {
                [key: string]: components["schemas"]["PartOut"];
            };
            /** Ready */
            ready: boolean;
        };
        /**
         * RecipeIn
         * @description What is trained, and how. The base model is one that the runner has.
         */
        RecipeIn: {
            /**
             * Alpha
             * @default 32
             */
            alpha?: number;
            /**
             * Base
             * @description `demo`, or as the runner calls it.
             */
            base: string;
            /**
             * Batch Rows
             * @default 8
             */
            batch_rows?: number;
            /** Epochs */
            epochs: number;
            /**
             * Learning Rate Nano
             * @description The peak, in billionths.
             * @default 200000
             */
            learning_rate_nano?: number;
            /**
             * Purpose
             * @description What for: a code of GET /v1/world.
             */
            purpose: string;
            /**
             * Rank
             * @default 16
             */
            rank?: number;
            /**
             * Seed
             * @default 0
             */
            seed?: number;
            /**
             * Sequence
             * @default 512
             */
            sequence?: number;
            /**
             * Targets
             * @default [
             *       "all-linear"
             *     ]
             */
            targets?: string[];
            /**
             * Warmup Steps
             * @default 10
             */
            warmup_steps?: number;
        };
        /**
         * RefusalOut
         * @description A consent that takes no part, where that was found (quote, release, training), and why.
         */
        RefusalOut: {
            /**
             * Consent
             * @description 32 bytes of hex.
             */
            consent: `0x${string}`;
            /**
             * Owner
             * @description An account: 20 bytes of hex.
             */
            owner: `0x${string}`;
            /** Reasons */
            reasons: string[];
            /** Where */
            where: string;
        };
        /**
         * RequestIn
         * @description What a trainer asks for: no `base_models` is any, `max_uses` 0 unlimited; prices are the most they would pay.
         */
        RequestIn: {
            /**
             * Asset
             * @description 32 bytes of hex.
             */
            asset: `0x${string}`;
            /** Base Models */
            base_models?: `0x${string}`[];
            /** Days Open */
            days_open: number;
            /**
             * Expiry
             * @description Unix seconds.
             */
            expiry: number;
            /**
             * Flat
             * @description UNITs.
             */
            flat: string;
            /** Max Epochs */
            max_epochs: number;
            /**
             * Max Uses
             * @description Jobs; 0 is unlimited.
             */
            max_uses: number;
            /**
             * Message
             * @description To the owner.
             * @default
             */
            message?: string;
            /**
             * Per Record Epoch
             * @description UNITs.
             */
            per_record_epoch: string;
            /** Purpose */
            purpose: string;
        };
        /**
         * RequestOut
         * @description A request as its owner and its trainer see it; `consent` is the digest of what answered it.
         */
        RequestOut: {
            /**
             * Asset
             * @description 32 bytes of hex.
             */
            asset: `0x${string}`;
            /** Base Models */
            base_models: `0x${string}`[];
            /**
             * Closes
             * @description Unix seconds.
             */
            closes: number;
            /** Consent */
            consent: `0x${string}` | null;
            /**
             * Expiry
             * @description Unix seconds.
             */
            expiry: number;
            /**
             * Flat
             * @description Money, in whole UNITs of the currency.
             */
            flat: string;
            /** History */
            history: components["schemas"]["StepOut"][];
            /** Id */
            id: string;
            /** Max Epochs */
            max_epochs: number;
            /** Max Uses */
            max_uses: number;
            /** Message */
            message: string;
            /**
             * Opened
             * @description Unix seconds.
             */
            opened: number;
            /**
             * Owner
             * @description An account: 20 bytes of hex.
             */
            owner: `0x${string}`;
            /**
             * Per Record Epoch
             * @description Money, in whole UNITs of the currency.
             */
            per_record_epoch: string;
            /** Purpose */
            purpose: string;
            state: components["schemas"]["allod__requests__State"];
            /** Title */
            title: string | null;
            /**
             * Trainer
             * @description An account: 20 bytes of hex.
             */
            trainer: `0x${string}`;
        };
        /**
         * RevocationIn
         * @description A signed revocation: `revoke` takes consents and, for each, its holder; `revoke_nonces` word and mask;
         *     `revoke_all` the current epoch.
         */
        RevocationIn: {
            /** Consents */
            consents?: components["schemas"]["ConsentForm"][];
            /** Epoch */
            epoch?: number | null;
            /** Holders */
            holders?: `0x${string}`[];
            /**
             * Kind
             * @enum {string}
             */
            kind: "revoke" | "revoke_nonces" | "revoke_all";
            /** Mask */
            mask?: `0x${string}` | null;
            /**
             * Owner
             * @description An account: 20 bytes of hex.
             */
            owner: `0x${string}`;
            /**
             * Signature
             * @description A signature: 65 bytes, or what a wallet takes.
             */
            signature: `0x${string}`;
            /**
             * Word
             * @description 56 bits, in decimal.
             */
            word?: string | null;
        };
        /**
         * RunnerOut
         * @description The machine that runs jobs.
         */
        RunnerOut: {
            /** Address */
            address: `0x${string}` | null;
        };
        /**
         * SentenceOut
         * @description One sentence: whether it holds, why (not), the raw evidence, and commands that show it without this server.
         */
        SentenceOut: {
            /** Evidence */
            evidence: {
                [key: string]: unknown;
            };
            /** Finding */
            finding: string;
            /** Holds */
            holds: boolean;
            /** How To Check */
            how_to_check: string;
            /** Slug */
            slug: string;
            /** Text */
            text: string;
        };
        /**
         * SessionIn
         * @description A sign-in message (EIP-4361) and its signature (EIP-191).
         */
        SessionIn: {
            /** Message */
            message: string;
            /**
             * Signature
             * @description A signature: 65 bytes, or what a wallet takes.
             */
            signature: `0x${string}`;
        };
        /**
         * SessionOut
         * @description Who is signed in. Unsafe requests carry `csrf_token` in the header X-CSRF-Token.
         */
        SessionOut: {
            /**
             * Account
             * @description An account: 20 bytes of hex.
             */
            account: `0x${string}`;
            /** Csrf Token */
            csrf_token: string;
            /**
             * Expires At
             * @description Unix seconds.
             */
            expires_at: number;
        };
        /**
         * StepOut
         * @description One step of a request: who did it (null is the server, after a failed approval), and why or with what changes.
         */
        StepOut: {
            /**
             * At
             * @description Unix seconds.
             */
            at: number;
            /** By */
            by: `0x${string}` | null;
            /** Changes */
            changes?: string[] | null;
            /** Reason */
            reason?: string | null;
            state: components["schemas"]["allod__requests__State"];
        };
        /**
         * TakenOut
         * @description What came of a part: all of it is durable now. `bytes` counts the new blocks.
         */
        TakenOut: {
            /** Bytes */
            bytes: number;
            /**
             * Known
             * @description Blocks that were here before.
             */
            known: number;
            /**
             * Stored
             * @description Blocks that are new here.
             */
            stored: number;
        };
        /**
         * TermsOut
         * @description A licence, decoded. `base_models` null is any, `max_uses` 0 unlimited, `runner` null any.
         */
        TermsOut: {
            /** Base Models */
            base_models: `0x${string}`[] | null;
            /**
             * Committee
             * @description 32 bytes of hex.
             */
            committee: `0x${string}`;
            /**
             * Expiry
             * @description Unix seconds.
             */
            expiry: number;
            /**
             * Flat
             * @description Money, in whole UNITs of the currency.
             */
            flat: string;
            /** Max Epochs */
            max_epochs: number;
            /** Max Uses */
            max_uses: number;
            /**
             * Payee
             * @description An account: 20 bytes of hex.
             */
            payee: `0x${string}`;
            /**
             * Per Record Epoch
             * @description Money, in whole UNITs of the currency.
             */
            per_record_epoch: string;
            /** Purposes */
            purposes: string[];
            /** Runner */
            runner: `0x${string}` | null;
        };
        /**
         * TokenOut
         * @description One token. `uses_left` null is unlimited.
         */
        TokenOut: {
            /**
             * Holder
             * @description An account: 20 bytes of hex.
             */
            holder: `0x${string}`;
            /**
             * Id
             * @description 32 bytes of hex.
             */
            id: `0x${string}`;
            /**
             * Status
             * @description live, never_minted, burned, other_epoch, nonce_revoked, not_yet, expired, used_up
             */
            status: string;
            /** Uses */
            uses: number;
            /** Uses Left */
            uses_left: number | null;
        };
        /**
         * TotalsOut
         * @description Sums over all payments.
         */
        TotalsOut: {
            /**
             * Claimable
             * @description Money, in whole UNITs of the currency.
             */
            claimable: string;
            /**
             * In Escrow
             * @description Money, in whole UNITs of the currency.
             */
            in_escrow: string;
            /**
             * Paid
             * @description Money, in whole UNITs of the currency.
             */
            paid: string;
        };
        /**
         * UsedOut
         * @description A job that was opened with it; `adapter` is the hash of what came out, where it is known here.
         */
        UsedOut: {
            /** Adapter */
            adapter: `0x${string}` | null;
            /**
             * Job Id
             * @description 32 bytes of hex.
             */
            job_id: `0x${string}`;
            /**
             * Opened
             * @description Unix seconds.
             */
            opened: number;
        };
        /**
         * VaultOut
         * @description A vault as this server keeps it. `blocks` and `bytes` count what its head needs.
         */
        VaultOut: {
            /** Blocks */
            blocks: number;
            /** Bytes */
            bytes: number;
            /**
             * Head
             * @description A CIDv1 in base32.
             */
            head: string;
            /**
             * Manifest Pk
             * @description 32 bytes of hex.
             */
            manifest_pk: `0x${string}`;
            /** Sequence */
            sequence: number;
            /**
             * Vault Id
             * @description 32 bytes of hex.
             */
            vault_id: `0x${string}`;
        };
        /**
         * VerificationOut
         * @description A report over one finished job. `vouched`: the runner's word about the adapter is among what holds.
         *
         *     Commands in `how_to_check` want an RPC endpoint of yours as $RPC, the unpacked bundle as $BUNDLE, and what you
         *     accept in trust.json; `trust` is what this server accepts.
         */
        VerificationOut: {
            /** Adapter */
            adapter: `0x${string}` | null;
            /**
             * At
             * @description Unix seconds.
             */
            at: number;
            /**
             * Block
             * @description The chain's newest block when it was checked.
             */
            block: number;
            /**
             * Job Id
             * @description 32 bytes of hex.
             */
            job_id: `0x${string}`;
            /** Sentences */
            sentences: components["schemas"]["SentenceOut"][];
            /** Trust */
            trust: string;
            /** Verified */
            verified: boolean;
            /** Vouched */
            vouched: boolean;
        };
        /**
         * WorldOut
         * @description What a client needs to know before it signs or seals anything; it pins what it accepted once.
         */
        WorldOut: {
            /** Chain Id */
            chain_id: number;
            committee: components["schemas"]["CommitteeOut"];
            contracts: components["schemas"]["ContractsOut"];
            currency: components["schemas"]["CurrencyOut"];
            /** Is Development */
            is_development: boolean;
            limits: components["schemas"]["LimitsOut"];
            /** Notice */
            notice: string | null;
            operators: components["schemas"]["OperatorsOut"];
            /** Purposes */
            purposes: components["schemas"]["PurposeOut"][];
            runner: components["schemas"]["RunnerOut"];
            /** Version */
            version: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    read_liveness: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
        };
    };
    read_readiness: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReadinessOut"];
                };
            };
            /** @description Some part does not work. */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReadinessOut"];
                };
            };
        };
    };
    list_activity: {
        parameters: {
            query?: {
                /** @description `next_after` of the page before. */
                after?: string | null;
                /** @description How many at most. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_ActivityOut_"];
                };
            };
        };
    };
    stream_activity: {
        parameters: {
            query?: {
                /** @description The id of the last event that the client has. */
                after?: number;
            };
            header?: {
                /** @description Likewise, as EventSource says it. */
                "Last-Event-ID"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Events as they come, or one page of them as JSON. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_ActivityOut_"];
                    "text/event-stream": unknown;
                };
            };
        };
    };
    store_blocks: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/vnd.ipld.car": string;
            };
        };
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TakenOut"];
                };
            };
        };
    };
    read_block: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description A CIDv1 in base32. */
                cid: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The block. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/vnd.ipld.dag-cbor": string;
                    "application/vnd.ipld.dag-pb": string;
                    "application/vnd.ipld.raw": string;
                };
            };
            /** @description You have it. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    probe_block: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description A CIDv1 in base32. */
                cid: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The block. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/vnd.ipld.dag-cbor": string;
                    "application/vnd.ipld.dag-pb": string;
                    "application/vnd.ipld.raw": string;
                };
            };
            /** @description You have it. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    find_missing_blocks: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["QuestionIn"];
            };
        };
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MissingOut"];
                };
            };
        };
    };
    create_claim: {
        parameters: {
            query?: never;
            header: {
                /** @description Chosen by the client, new for each thing to do; say a UUID. */
                "Idempotency-Key": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ClaimIn"];
            };
        };
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationOut"];
                };
            };
        };
    };
    create_consent_nonce: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ConsentNonceIn"];
            };
        };
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ConsentNonceOut"];
                };
            };
        };
    };
    list_consents: {
        parameters: {
            query?: {
                /** @description `next_after` of the page before. */
                after?: string | null;
                /** @description How many at most. */
                limit?: number;
                /** @description Requests to you, or by you. */
                role?: "owner" | "trainer";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_ConsentRowOut_"];
                };
            };
        };
    };
    create_consent: {
        parameters: {
            query?: never;
            header: {
                /** @description Chosen by the client, new for each thing to do; say a UUID. */
                "Idempotency-Key": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ConsentIn"];
            };
        };
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationOut"];
                };
            };
        };
    };
    list_datasets: {
        parameters: {
            query?: {
                /** @description `next_after` of the page before. */
                after?: string | null;
                /** @description How many at most. */
                limit?: number;
                owner?: `0x${string}` | null;
                /** @description A purpose's code. */
                purpose?: string | null;
                /** @description Words of the title or the description, all of them. */
                q?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_DatasetOut_"];
                };
            };
        };
    };
    publish_dataset: {
        parameters: {
            query?: never;
            header: {
                /** @description Chosen by the client, new for each thing to do; say a UUID. */
                "Idempotency-Key": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PublicationIn"];
            };
        };
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationOut"];
                };
            };
        };
    };
    read_dataset: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                asset: `0x${string}`;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DatasetDetailOut"];
                };
            };
        };
    };
    list_earnings: {
        parameters: {
            query?: {
                /** @description `next_after` of the page before. */
                after?: string | null;
                /** @description How many at most. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EarningsOut"];
                };
            };
        };
    };
    list_jobs: {
        parameters: {
            query?: {
                /** @description `next_after` of the page before. */
                after?: string | null;
                /** @description How many at most. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_JobOut_"];
                };
            };
        };
    };
    create_job: {
        parameters: {
            query?: never;
            header: {
                /** @description Chosen by the client, new for each thing to do; say a UUID. */
                "Idempotency-Key": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["JobIn"];
            };
        };
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobOut"];
                };
            };
        };
    };
    read_job: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description A job's number or 0x id. */
                job: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobOut"];
                };
            };
        };
    };
    read_bundle: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description A job's 0x id. */
                job: `0x${string}`;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The bundle. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/x-tar": unknown;
                };
            };
        };
    };
    cancel_job: {
        parameters: {
            query?: never;
            header: {
                /** @description Chosen by the client, new for each thing to do; say a UUID. */
                "Idempotency-Key": string;
            };
            path: {
                /** @description A job's number or 0x id. */
                job: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CancellationIn"];
            };
        };
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobOut"];
                };
            };
        };
    };
    stream_job_events: {
        parameters: {
            query?: {
                /** @description The id of the last event that the client has. */
                after?: number;
            };
            header?: {
                /** @description Likewise, as EventSource says it. */
                "Last-Event-ID"?: string | null;
            };
            path: {
                /** @description A job's number or 0x id. */
                job: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Events as they come, or one page of them as JSON. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_JobEventOut_"];
                    "text/event-stream": unknown;
                };
            };
        };
    };
    create_nonce: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NonceOut"];
                };
            };
        };
    };
    list_operations: {
        parameters: {
            query?: {
                /** @description `next_after` of the page before. */
                after?: string | null;
                /** @description How many at most. */
                limit?: number;
                state?: components["schemas"]["allod__operations__State"] | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_OperationOut_"];
                };
            };
        };
    };
    read_operation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                operation_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationOut"];
                };
            };
        };
    };
    create_quote: {
        parameters: {
            query?: never;
            header: {
                /** @description Chosen by the client, new for each thing to do; say a UUID. */
                "Idempotency-Key": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["QuoteIn"];
            };
        };
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["QuoteOut"];
                };
            };
        };
    };
    read_quote: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description A quote's id. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["QuoteOut"];
                };
            };
        };
    };
    list_requests: {
        parameters: {
            query?: {
                /** @description `next_after` of the page before. */
                after?: string | null;
                /** @description How many at most. */
                limit?: number;
                /** @description Requests to you, or by you. */
                role?: "owner" | "trainer";
                state?: components["schemas"]["allod__requests__State"] | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_RequestOut_"];
                };
            };
        };
    };
    create_request: {
        parameters: {
            query?: never;
            header: {
                /** @description Chosen by the client, new for each thing to do; say a UUID. */
                "Idempotency-Key": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RequestIn"];
            };
        };
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RequestOut"];
                };
            };
        };
    };
    read_request: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                request_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RequestOut"];
                };
            };
        };
    };
    deny_request: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                request_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DenialIn"];
            };
        };
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RequestOut"];
                };
            };
        };
    };
    withdraw_request: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                request_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RequestOut"];
                };
            };
        };
    };
    create_revocation: {
        parameters: {
            query?: never;
            header: {
                /** @description Chosen by the client, new for each thing to do; say a UUID. */
                "Idempotency-Key": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RevocationIn"];
            };
        };
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationOut"];
                };
            };
        };
    };
    create_session: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SessionIn"];
            };
        };
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionOut"];
                };
            };
        };
    };
    read_session: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionOut"];
                };
            };
        };
    };
    end_session: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    read_vault: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VaultOut"];
                };
            };
        };
    };
    commit_vault: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CommitIn"];
            };
        };
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VaultOut"];
                };
            };
        };
    };
    read_verification: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description A job's id, or the SHA-256 of adapter_model.safetensors. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VerificationOut"];
                };
            };
        };
    };
    read_world: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The request cannot be answered so. */
            "4XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The server cannot answer now. */
            "5XX": {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WorldOut"];
                };
            };
        };
    };
}
