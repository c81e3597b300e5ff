/** BIP-39's English words, 13 KiB that only first run and recovery need: import this module on demand. */
export { entropyToMnemonic, mnemonicToEntropy } from "@scure/bip39";
export { wordlist } from "@scure/bip39/wordlists/english.js";
