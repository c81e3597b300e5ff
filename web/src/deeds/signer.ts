/** Who signs: the key below the root key, or a wallet. Both make the same bytes for the same message. */

import { personalDigest, type Account } from "./account.ts";
import type { Hex } from "./fields.ts";
import { digestOf, type Deed } from "./typed.ts";

/** Texts are signed by EIP-191, deeds by EIP-712. A wallet that is a contract may give longer signatures (ERC-1271). */
export interface Signer {
  readonly address: Hex;
  readonly isWallet: boolean;
  signText(message: string): Promise<Hex>;
  signDeed(deed: Deed): Promise<Hex>;
  /** Overwrite the key, where this page has it. */
  forget?(): void;
}

/** Signs with a key of this page's own, without asking. */
export function localSigner(account: Account): Signer {
  return {
    address: account.address,
    isWallet: false,
    signText: async (message) => account.signDigest(personalDigest(message)),
    signDeed: async (deed) => account.signDigest(digestOf(deed)),
    forget: () => account.forget(),
  };
}
