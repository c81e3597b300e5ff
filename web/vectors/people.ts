import { TypedData } from "ox";

import { covers } from "../src/app/owner/licence.ts";
import { checkCard } from "../src/deeds/card.ts";
import { bytesOf } from "../src/deeds/fields.ts";
import {
  Account, checkNonce, connectWallet, consentSentence, discoverWallets, draftConsent, exampleSentence, formatUnits,
  highestPlace, localSigner, nonceOf, personalDigest, priceSentence, revokeAll, styleOf, termsSentence, writeTerms, NOBODY,
  type Deed, type Hex, type Provider, type Wallet,
} from "../src/deeds/index.ts";
import { outcome, refused, same } from "./checking.ts";
import type { Suite } from "./suites.ts";

const CHAIN = 31337;
const key = new Account(new Uint8Array(32).fill(1));
const deed: Deed = revokeAll({ chainId: CHAIN, consentToken: `0x${"c0".repeat(20)}` }, key.address, 3).deed;

/** A wallet as extensions are: it is given JSON, signs it by ox's digest, and may misbehave as told. */
class Extension implements Provider {
  readonly asked: string[] = [];
  chain = CHAIN;
  accounts: string[] = [key.address.toUpperCase().replace("0X", "0x")];
  refuses: Readonly<Record<string, number>> = {};
  turned: (signature: Hex) => unknown = (signature) => signature;
  switches = true;

  async request({ method, params = [] }: { method: string; params?: readonly unknown[] }): Promise<unknown> {
    this.asked.push(method);
    const code = this.refuses[method];
    if (code !== undefined) throw Object.assign(new Error("words of a wallet"), { code });
    switch (method) {
      case "eth_requestAccounts":
      case "eth_accounts":
        return this.accounts;
      case "eth_chainId":
        return `0x${this.chain.toString(16)}`;
      case "wallet_switchEthereumChain":
        if (this.switches) this.chain = CHAIN;
        return null;
      case "personal_sign": {
        const [message, account] = params as [Hex, Hex];
        same(account, key.address, "account");
        return this.turned(key.signDigest(personalDigest(new TextDecoder().decode(bytesOf(message)))));
      }
      case "eth_signTypedData_v4": {
        const [account, document] = params as [Hex, string];
        same(account, key.address, "account");
        const parsed = JSON.parse(document) as Parameters<typeof TypedData.getSignPayload>[0];
        return this.turned(key.signDigest(bytesOf(TypedData.getSignPayload(parsed))));
      }
      default:
        throw Object.assign(new Error("unknown"), { code: -32601 });
    }
  }
}

function wallet(provider: Provider, uuid = "1"): Wallet {
  return { uuid, name: "Wallet", rdns: "example.wallet", icon: "", provider };
}

function announce(detail: unknown): void {
  window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail }));
}

function withHighS(signature: Hex): Hex {
  const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
  const s = (order - BigInt(`0x${signature.slice(66, 130)}`)).toString(16).padStart(64, "0");
  return `0x${signature.slice(2, 66)}${s}${signature.endsWith("1b") ? "1c" : "1b"}`;
}

const withSmallV = (signature: Hex): Hex => `${signature.slice(0, 130)}${signature.endsWith("1b") ? "00" : "01"}` as Hex;

const wallets: Suite = async function* () {
  yield await outcome("wallets announce themselves, also those that load later, and bad announcements are passed over", () => {
    const info = { uuid: "u1", name: "One", rdns: "a.b", icon: "data:image/svg+xml,x" };
    const early = () => announce({ info, provider: new Extension() });
    window.addEventListener("eip6963:requestProvider", early);
    const seen: string[][] = [];
    const stop = discoverWallets((all) => seen.push(all.map(({ name, icon }) => name + icon)));
    announce({ info: { ...info, uuid: "u2", name: "Two", icon: "https://tracker.example/x.png" }, provider: new Extension() });
    announce({ info: { ...info, name: "Again" }, provider: new Extension() });
    for (const bad of [null, {}, { info }, { info: { ...info, name: 3 }, provider: new Extension() }, { info, provider: {} }]) announce(bad);
    announce({ info: { ...info, uuid: "u9", name: " " }, provider: new Extension() });
    stop();
    announce({ info: { ...info, uuid: "u3" }, provider: new Extension() });
    window.removeEventListener("eip6963:requestProvider", early);
    const icon = info.icon;
    same(seen, [[`One${icon}`], [`One${icon}`, "Two"], [`Again${icon}`, "Two"]], "wallets");
  });
  yield await outcome("a wallet signs what the key below the root key signs", async () => {
    const signer = await connectWallet(wallet(new Extension()), CHAIN);
    same(signer.address, key.address, "address");
    same(await signer.signDeed(deed), await localSigner(key).signDeed(deed), "deed");
    same(await signer.signText("Grüße\n"), await localSigner(key).signText("Grüße\n"), "text");
  });
  yield await outcome("signatures in other forms are made those that contracts take", async () => {
    const expected = await localSigner(key).signDeed(deed);
    for (const turned of [withHighS, withSmallV, (signature: Hex) => signature.toUpperCase().replace("0X", "0x")]) {
      const provider = new Extension();
      provider.turned = turned;
      same(await (await connectWallet(wallet(provider), CHAIN)).signDeed(deed), expected, turned.name);
    }
  });
  yield await outcome("what no key signed is passed on: the account may be a contract", async () => {
    for (const told of [`0x${"ab".repeat(200)}`, `0x${"11".repeat(64)}1b`, `0x${"11".repeat(64)}00`]) {
      const provider = new Extension();
      provider.turned = () => told;
      same(await (await connectWallet(wallet(provider), CHAIN)).signDeed(deed), told, "signature");
    }
  });
  yield await outcome("what is no signature is an error", async () => {
    for (const told of [null, 3, "0x", "0xabc", "signed", `0x${"ab".repeat(1025)}`]) {
      const provider = new Extension();
      provider.turned = () => told;
      const signer = await connectWallet(wallet(provider), CHAIN);
      await refused(() => signer.signDeed(deed), "unavailable");
    }
  });
  yield await outcome("a person who declines is told that nothing was signed", async () => {
    const provider = new Extension();
    provider.refuses = { eth_requestAccounts: 4001 };
    await refused(() => connectWallet(wallet(provider), CHAIN), "refused");
    provider.refuses = { personal_sign: 4001, eth_signTypedData_v4: 4001 };
    const signer = await connectWallet(wallet(provider), CHAIN);
    await refused(() => signer.signText("x"), "refused");
    await refused(() => signer.signDeed(deed), "refused");
  });
  yield await outcome("every other error of a wallet has words of ours", async () => {
    for (const [code, slug] of [[4100, "denied"], [4200, "unavailable"], [-32601, "unavailable"], [4900, "unavailable"],
      [-32002, "busy"], [-32603, "unavailable"]] as const) {
      const provider = new Extension();
      const signer = await connectWallet(wallet(provider), CHAIN);
      provider.refuses = { eth_signTypedData_v4: code };
      await refused(() => signer.signDeed(deed), slug);
      try {
        await signer.signDeed(deed);
      } catch (error) {
        same(String(error).includes("words of a wallet"), false, "the wallet's words");
      }
    }
  });
  yield await outcome("a wallet on another chain is asked to switch, and else nothing is signed", async () => {
    const provider = new Extension();
    provider.chain = 1;
    const signer = await connectWallet(wallet(provider), CHAIN);
    await signer.signDeed(deed);
    same(provider.asked.includes("wallet_switchEthereumChain"), true, "asked");
    provider.chain = 1;
    provider.switches = false;
    await refused(() => signer.signDeed(deed), "conflict");
    provider.refuses = { wallet_switchEthereumChain: 4902 };
    await refused(() => signer.signDeed(deed), "conflict");
    same(provider.asked.filter((method) => method === "eth_signTypedData_v4").length, 1, "signed once");
    await refused(() => signer.signDeed({ ...deed, chainId: 5 }), "invalid-input");
  });
  yield await outcome("a wallet that moved to another account signs nothing", async () => {
    const provider = new Extension();
    const signer = await connectWallet(wallet(provider), CHAIN);
    provider.accounts = [`0x${"22".repeat(20)}`];
    await refused(() => signer.signText("x"), "conflict");
    await refused(() => signer.signDeed(deed), "conflict");
    provider.accounts = [];
    await refused(() => connectWallet(wallet(provider), CHAIN), "denied");
    provider.accounts = ["0x12"];
    await refused(() => connectWallet(wallet(provider), CHAIN), "invalid-input");
  });
  yield await outcome("a locked key signs nothing", async () => {
    const account = new Account(new Uint8Array(32).fill(2));
    account.forget();
    await refused(() => localSigner(account).signText("x"), "invalid-input");
    same(JSON.stringify(account).includes("02"), false, "the key");
  });
};

const owner = key.address;
const trainer: Hex = `0x${"22".repeat(20)}`;
const wished = {
  purposes: ["service-provision", "academic-research"],
  payee: owner,
  committee: `0x${"33".repeat(32)}` as Hex,
  expiry: Date.UTC(2027, 2, 4) / 1000,
  maxEpochs: 3,
  maxUses: 2,
  flat: 500_000_000n,
  perRecordEpoch: 1_000_000n,
};
const style = styleOf({ symbol: "ALD", decimals: 18 });

const words: Suite = async function* () {
  const terms = writeTerms(wished);
  const wish = { owner, asset: `0x${"44".repeat(32)}` as Hex, terms, purpose: "service-provision", escrow: trainer, grantee: null, now: 1.8e9 + 0.5 };
  yield await outcome("terms and consents are told in one sentence", () => {
    same(
      termsSentence(terms, "Notes", null, style),
      "Any trainer may fine-tune on “Notes” for academic research or providing a service or product, on any base model, " +
        "in up to 2 jobs, reading each record up to 3 times per job, until 4 March 2027.",
      "terms",
    );
    const narrow = writeTerms({ ...wished, baseModels: [`0x${"55".repeat(32)}`], maxUses: 0, maxEpochs: 1, runner: trainer });
    same(
      termsSentence(narrow, "Notes", trainer, style),
      "0x222222…2222 may fine-tune on “Notes” for academic research or providing a service or product, on one base model " +
        "that you chose, in any number of jobs, reading each record once per job, until 4 March 2027, by the runner " +
        "0x222222…2222 only.",
      "narrow terms",
    );
    const consent = draftConsent({ ...wish, grantee: trainer, maxUses: 1 });
    same(
      consentSentence(consent, "Notes", terms, style),
      "0x222222…2222 may fine-tune on “Notes” for providing a service or product, on any base model, in one job, reading " +
        "each record up to 3 times per job, from 15 January 2027 until 4 March 2027.",
      "consent",
    );
    same(consentSentence({ ...consent, purpose: `0x${"00".repeat(32)}` }, "N", null, style).includes("not on Allod's list"), true, "purpose");
  });
  yield await outcome("prices are told exactly, whatever the language", () => {
    same(priceSentence(terms, style), "Each job pays 0.50 ALD, and 0.001 ALD for each record and epoch.", "price");
    same(priceSentence({ flat: 0n, perRecordEpoch: 0n }, style), "It pays nothing.", "free");
    same(priceSentence({ flat: 1n, perRecordEpoch: 0n }, style), "Each job pays 0.000000001 ALD.", "flat");
    same(exampleSentence(terms, 1200, 3, style), "For 1,200 records and 3 epochs that is 4.10 ALD.", "example");
    same(formatUnits(12345678901234567890n, 18, "de-DE"), "12.345.678.901,23456789", "German");
    same(formatUnits("18446744073709551615", 6, "en-GB"), "18,446,744,073,709.551615", "the largest");
    same(formatUnits(5n, 0, "en-GB"), "5", "no decimals");
  });
  yield await outcome("a consent is drafted within its terms", async () => {
    const consent = draftConsent(wish);
    same([consent.grantee, consent.maxUses, consent.notBefore, consent.expiry], [NOBODY, 2, 1.8e9, terms.expiry], "offer");
    same(draftConsent({ ...wish, expiry: terms.expiry + 5 }).expiry, terms.expiry, "expiry");
    await refused(() => draftConsent({ ...wish, purpose: "personalisation" }), "invalid-input");
    await refused(() => draftConsent({ ...wish, maxUses: 3 }), "invalid-input");
    await refused(() => draftConsent({ ...wish, maxUses: 0 }), "invalid-input");
    await refused(() => draftConsent({ ...wish, now: terms.expiry }), "invalid-input");
    same(draftConsent({ ...wish, grantee: trainer }).grantee, trainer, "the trainer");
    await refused(() => draftConsent({ ...wish, grantee: NOBODY }), "invalid-input"); // never an offer by accident
    same(writeTerms(wished).salt === terms.salt, false, "salts");
    same(terms.purposes, ["academic-research", "service-provision"], "purposes");
  });
  yield await outcome("a nonce is never signed twice", async () => {
    const signed = [7n, nonceOf(1, 2n, 3), 9n].map((nonce) => ({ ...draftConsent(wish), nonce }));
    same([highestPlace(owner, signed), highestPlace(trainer, signed)], [(2n << 8n) | 3n, -1n], "highest");
    same(checkNonce(nonceOf(4, 2n, 4).toString(), owner, signed), nonceOf(4, 2n, 4), "the next");
    for (const bad of ["7", nonceOf(9, 2n, 3).toString(), nonceOf(9, 0n, 9).toString(), "-1", "x", "1e3", (1n << 96n).toString()]) {
      await refused(() => checkNonce(bad, owner, signed), "invalid-input");
    }
  });
  yield await outcome("one lying answer does not use up the nonces", async () => {
    const signed = [{ ...draftConsent(wish), nonce: 9n }];
    const ahead = 9n + (1n << 16n);
    same(checkNonce(ahead.toString(), owner, signed), ahead, "the farthest");
    const last = { ...draftConsent(wish), nonce: (1n << 62n) - 1n };
    for (const [bad, known] of [[ahead + 1n, signed], [(1n << 64n) - 1n, signed], [(5n << 64n) | ahead + 1n, signed],
      [1n << 62n, [last]], [1n << 16n, []]] as const) {
      await refused(() => checkNonce(bad.toString(), owner, known), "invalid-input");
    }
    same(checkNonce("65535", owner, []), 65535n, "the first");
  });
  yield await outcome("only terms that say exactly what is wanted cover it", () => {
    const wanted = { ...wished, baseModels: [`0x${"55".repeat(32)}` as Hex] };
    const usual = { payee: owner, runner: NOBODY, committee: wished.committee };
    const exact = writeTerms(wanted);
    const says = (change: object, licence = wanted) => covers({ ...exact, ...change }, licence, usual);
    same([says({}), says({ expiry: wanted.expiry + 1 }), says({ maxUses: 0 })], [true, true, true], "covered");
    same(says({}, { ...wanted, baseModels: [...wanted.baseModels, ...wanted.baseModels] }), true, "a model named twice");
    const others = {
      more: { baseModels: [...wanted.baseModels, `0x${"66".repeat(32)}`] }, any: { baseModels: null }, payee: { payee: trainer },
      runner: { runner: trainer }, committee: { committee: `0x${"34".repeat(32)}` }, flat: { flat: 1n }, epochs: { maxEpochs: 2 },
      uses: { maxUses: 1 }, expiry: { expiry: wanted.expiry - 1 }, purposes: { purposes: ["academic-research"] },
    };
    same(Object.entries(others).filter(([, change]) => says(change)), [], "refused");
  });
};

const cards: Suite = async function* () {
  const card = { title: "Notes", description: "", schema: ["text/plain"], sample: "" };
  yield await outcome("a card beyond its limits is refused", async () => {
    const wide = "😀";
    checkCard(card);
    checkCard({ title: wide.repeat(200), description: wide.repeat(4000), schema: Array(64).fill(wide.repeat(200)), sample: wide.repeat(4096) });
    for (const change of [
      { title: " " }, { title: "t".repeat(201) }, { description: "d".repeat(4001) }, { sample: "s".repeat(4097) },
      { schema: Array(65).fill("x") }, { schema: [""] }, { schema: ["x".repeat(201)] }, { title: "half \ud83d" },
    ]) {
      await refused(() => checkCard({ ...card, ...change }), "invalid-input");
    }
  });
};

export const PEOPLE = { wallets, words, cards };
