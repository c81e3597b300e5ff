/** The vault's blocks over the API. What comes back is checked by the vault, block by block. */

import { get, send } from "../../api/client.ts";
import { Problem } from "../../api/problem.ts";
import type { Hex, Session, VaultDocument } from "../../api/types.ts";
import { fromHex, toHex } from "../../vault/bytes.ts";
import { Cid } from "../../vault/cid.ts";
import { AllodError, Conflict, NotFound, Unavailable } from "../../vault/errors.ts";
import { HeadMoved, Incomplete } from "../../vault/heads.ts";
import type { Transport } from "../../vault/interfaces.ts";
import { untilAnswered } from "./resending.ts";

type Bytes = Uint8Array<ArrayBuffer>;
const QUESTION = 1000; // CIDs in one question, the server's limit
const CAR = "application/vnd.ipld.car";

function withSignal(signal?: AbortSignal): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

/** The server's word in the vault's own errors: silence and refusal stay apart. */
async function translated<T>(work: Promise<T>, notFound?: () => T, passing = false): Promise<T> {
  try {
    return await work;
  } catch (thrown) {
    if (!(thrown instanceof Problem)) throw thrown;
    if (thrown.status === 404 && notFound !== undefined) return notFound();
    if (thrown.isOffline || thrown.status >= 500 || thrown.status === 429) {
      throw new Unavailable(thrown.title, thrown.hint);
    }
    if (passing) throw thrown;
    throw new AllodError(thrown.title, thrown.hint);
  }
}

export async function mine(signal?: AbortSignal): Promise<VaultDocument | null> {
  return await translated(get<VaultDocument | null>("/v1/vaults/mine", withSignal(signal)), () => null);
}

/** The blocks of `account`'s vault; a proof that the vault's key is somebody's is made for that account only. */
export function transportOf(account: Hex): Transport {
  return {
    async get(cid, signal) {
      const read = async (): Promise<Bytes> =>
        new Uint8Array(await (await send("GET", `/v1/blocks/${cid.toString()}`, withSignal(signal))).arrayBuffer());
      return await translated(read(), () => {
        throw new NotFound("A block is not on this server.", "Bring it back from a backup of the blocks.");
      });
    },

    async missing(cids, signal) {
      const out: Cid[] = [];
      for (let start = 0; start < cids.length; start += QUESTION) {
        const part = cids.slice(start, start + QUESTION);
        const body = { cids: part.map((cid) => cid.toString()) };
        const read = async (): Promise<{ missing: string[] }> =>
          (await (await send("POST", "/v1/blocks/missing", { body, ...withSignal(signal) })).json()) as { missing: string[] };
        const answer = new Set((await translated(untilAnswered(read, signal))).missing);
        out.push(...part.filter((cid) => answer.has(cid.toString())));
      }
      return out;
    },

    async head(signal) {
      const found = await mine(signal);
      return found === null ? null : Cid.parse(found.head);
    },

    async send(car, signal) {
      const part = { bytes: { data: car, type: CAR }, ...withSignal(signal) };
      await translated(untilAnswered(() => send("POST", "/v1/blocks", part), signal));
    },

    async commit(head, previous, signal, prove) {
      const session = await translated(get<Session>("/v1/sessions/current", withSignal(signal)));
      if (session.account !== account) {
        throw new Conflict("This browser is signed in as another account than your vault's.", "Lock your vault and unlock it.");
      }
      const proof = toHex(await prove(fromHex(account, 20)));
      const body = { head: head.toString(), previous: previous?.toString() ?? null, proof };
      try {
        const put = (): Promise<Response> => send("PUT", "/v1/vaults/mine", { body, ...withSignal(signal) });
        await translated(untilAnswered(put, signal), undefined, true);
      } catch (thrown) {
        if (!(thrown instanceof Problem)) throw thrown;
        const document = thrown.document;
        if (thrown.status === 409 && "head" in document) {
          const newest = document["head"];
          throw new HeadMoved(typeof newest === "string" ? Cid.parse(newest) : null);
        }
        const missing = document["missing"];
        if (thrown.status === 422 && Array.isArray(missing)) {
          throw new Incomplete(missing.map((cid) => Cid.parse(String(cid))));
        }
        throw new AllodError(thrown.title, thrown.hint);
      }
    },
  };
}
