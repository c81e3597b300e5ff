/**
 * Writes src/api/schema.ts, the types of the API, from the committed openapi.json; with --check only compares.
 *
 * Bytes (texts of 0x and hex) become `0x${string}`, so that they are not mistaken for other texts.
 */
import { readFile, writeFile } from "node:fs/promises";

import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const SOURCE = new URL("../allod/server/openapi.json", import.meta.url);
const TARGET = new URL("./src/api/schema.ts", import.meta.url);
const HEAD = "/** Made from allod/server/openapi.json by `npm run types`: do not edit. */\n\n";

const span = ts.factory.createTemplateLiteralTypeSpan(
  ts.factory.createKeywordTypeNode(ts.SyntaxKind.StringKeyword),
  ts.factory.createTemplateTail(""),
);
const HEX = ts.factory.createTemplateLiteralType(ts.factory.createTemplateHead("0x"), [span]);

const tree = await openapiTS(SOURCE, {
  alphabetize: true,
  defaultNonNullable: false,
  transform: (schema) => (schema.type === "string" && schema.pattern?.startsWith("^0x") ? HEX : undefined),
});
const text = HEAD + astToString(tree);

if (process.argv.includes("--check")) {
  if ((await readFile(TARGET, "utf8").catch(() => "")) !== text) {
    console.error("src/api/schema.ts is not what openapi.json says: run `npm run types` in web/.");
    process.exit(1);
  }
} else {
  await writeFile(TARGET, text);
}
