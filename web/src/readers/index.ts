/** Readers: what turns a file's bytes into training records. The content decides the format, never the name. */

export { BINARY, detect, HEAD, mediaTypeOf } from "./detection.ts";
export { piecesOf, readRecords, type Pieces } from "./reading.ts";
export type { BrokenPlace, Message, Role, TrainingRecord } from "./record.ts";
