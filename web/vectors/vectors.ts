import "./lab.ts";
import { SUITES, type Outcome, type Vectors } from "./suites.ts";

declare global {
  interface Window {
    runVectors: (suite: string, vectors: Vectors) => Promise<Outcome[]>;
    vectorSuites: readonly string[];
  }
}

window.vectorSuites = Object.keys(SUITES);
window.runVectors = async (suite, vectors) => {
  const run = SUITES[suite];
  if (run === undefined) throw new Error(`There is no suite ${suite}.`);
  const outcomes: Outcome[] = [];
  for await (const outcome of run(vectors)) outcomes.push(outcome);
  return outcomes;
};
