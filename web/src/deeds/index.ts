/**
 * Deeds: what owners and trainers sign, what follows from it, and who signs. Knows no server and no screen.
 *
 *   const signer = localSigner(new Account(await root.evmKey()))         or await connectWallet(wallet, chainId)
 *   await signer.signText(signInMessage({ origin, address, chainId, nonce, now }))           POST /v1/sessions
 *   const committee = readCommittee(world.committee.document, world.committee)               forSharing(committee) shares
 *   const terms = writeTerms({ purposes, payee, committee: committee.hash, expiry, … })      encodeTerms(terms) is stored
 *   await signer.signDeed(registerDeed(place, owner, dataset.digest, termsHash(terms)))      POST /v1/datasets
 *   const draft = draftConsent({ owner, grantee, asset, terms, purpose, escrow, now })       `grantee` null: an offer to all
 *   consentSentence(draft, title, terms, style)                                              is shown before it is signed
 *   const consent = { ...draft, nonce: checkNonce(answer.nonce, owner, signed) }             POST /v1/consent_nonces
 *   await signer.signDeed(consentDeed(place, consent))                                       body: writeConsentFields
 *   for (const { deed, body } of revokeNonces(place, owner, consents)) …                     body and signature are posted
 *
 * Keep a signed consent in the vault's records before it is sent anywhere: its nonce is used up.
 */

export { Account, personalDigest, readAddress, recover, writeAddress } from "./account.ts";
export { checkCard, type Card } from "./card.ts";
export { committeeHash, decodeCommittee, forSharing, readCommittee, verifyCommittee, type Committee, type Keeper } from "./committee.ts";
export {
  bitOf, checkConsent, checkNonce, consentDeed, consentId, decodeConsent, draftConsent, encodeConsent, epochOf, highestPlace,
  isOffer, nonceOf, readConsentFields, wordOfNonce, writeConsentFields, type Consent,
  type ConsentFields, type Draft, type Place,
} from "./consent.ts";
export { NOBODY, type Hex } from "./fields.ts";
export { formatUnits, parseUnits, unitDecimals, writeUnits } from "./money.ts";
export { decodeOrder, encodeOrder, jobIdOf, laneWord, type Order } from "./order.ts";
export { assetOf, registerDeed } from "./registration.ts";
export { PURPOSES, purposeOf, purposeOfHash, type Purpose } from "./purposes.ts";
export { decodeRecipe, type Recipe } from "./recipe.ts";
export { revokeAll, revokeNonces, revokeTokens, type Revocation, type RevocationBody } from "./revocation.ts";
export { consentSentence, ENGLISH, exampleSentence, priceSentence, styleOf, termsSentence, type Phrases, type Style } from "./sentences.ts";
export { localSigner, type Signer } from "./signer.ts";
export { signInMessage, type SignIn } from "./siwe.ts";
export { allows, checkTerms, decodeTerms, encodeTerms, priceOf, quote, termsHash, writeTerms, type Terms } from "./terms.ts";
export { FEE, SumTree, sumOf, verifyLeaf, type Leaf } from "./tree.ts";
export { digestOf, typedData, type Deed } from "./typed.ts";
export { connectWallet, discoverWallets, WalletSigner, type Provider, type Wallet } from "./wallets.ts";
