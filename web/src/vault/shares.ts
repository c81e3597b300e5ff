/** Shamir's sharing of a 32-byte key over GF(2^8), in the share bytes of HashiCorp Vault: y[32] ‖ x[1], 0x11B. */
import { type Bytes, concat, random } from "./bytes.ts";
import { InvalidInput } from "./errors.ts";

export const SECRET = 32;
export const SHARE = SECRET + 1;

/** `n` shares for x = 1 … n, any `t` of which give `secret` back. */
export function split(secret: Bytes, t: number, n: number): Bytes[] {
  checkThreshold(t, n);
  return splitWith(
    secret,
    Array.from({ length: t - 1 }, () => random(SECRET)),
    n,
  );
}

/** The shares of the polynomial with these coefficients from degree 1 up, which are secret and used once. */
export function splitWith(secret: Bytes, coefficients: readonly Bytes[], n: number): Bytes[] {
  if (secret.length !== SECRET) throw new InvalidInput(`Only a secret of ${SECRET} bytes is split.`);
  const polynomial = [secret, ...coefficients].reverse();
  return Array.from({ length: n }, (_, index) => {
    const y = new Uint8Array(SECRET);
    for (const coefficient of polynomial) {
      for (let i = 0; i < SECRET; i++) y[i] = product(y[i] as number, index + 1) ^ (coefficient[i] as number);
    }
    return concat(y, new Uint8Array([index + 1]));
  });
}

/** The secret that these shares lie on. Fewer than t of them give another one: check a commitment. */
export function combine(shares: readonly Bytes[]): Bytes {
  if (shares.length < 2 || shares.length > 255 || shares.some((share) => share.length !== SHARE)) {
    throw new InvalidInput(`Between 2 and 255 shares of ${SHARE} bytes are combined.`);
  }
  const places = shares.map((share) => share[SECRET] as number);
  if (places.includes(0) || new Set(places).size !== places.length) {
    throw new InvalidInput("Shares to combine have different numbers from 1 to 255.");
  }
  const secret = new Uint8Array(SECRET);
  for (const share of shares) {
    const own = share[SECRET] as number;
    const weight = places.reduce(
      (made, other) => (other === own ? made : product(made, product(other, inverse(other ^ own)))),
      1,
    );
    for (let i = 0; i < SECRET; i++) secret[i] = (secret[i] as number) ^ product(share[i] as number, weight);
  }
  return secret;
}

/** Returns if a secret can be shared t-of-n. */
export function checkThreshold(t: number, n: number): void {
  if (!(t >= 2 && t <= n && n <= 255)) {
    throw new InvalidInput("A committee has a threshold of at least 2 and at most 255 members.");
  }
}

/** `secret` times the public `factor`: no table, no index and no branch depends on `secret`. */
function product(secret: number, factor: number): number {
  let [a, out] = [secret, 0];
  for (let bit = 0; bit < 8; bit++) {
    out ^= a & -((factor >> bit) & 1);
    a = ((a << 1) ^ (0x11b & -(a >> 7))) & 0xff;
  }
  return out;
}

/** The inverse of a public field element other than 0: a^254. */
function inverse(a: number): number {
  let [power, result] = [a, 1];
  for (let i = 0; i < 7; i++) {
    power = product(power, power);
    result = product(result, power);
  }
  return result;
}
