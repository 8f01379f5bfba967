/** Errors of this package, with the names that they have in Python. Their messages are sentences for people. */

export class KronosError extends Error {
  override name = "KronosError";
}

/** Candles or files that cannot be used. */
export class DataError extends KronosError {
  override name = "DataError";
}

/** Arguments out of range. */
export class ParameterError extends KronosError {
  override name = "ParameterError";
}

/** Future times that no calendar gives. */
export class CalendarError extends KronosError {
  override name = "CalendarError";
}

/** Files of a model that are missing, damaged or of another version. */
export class CheckpointError extends KronosError {
  override name = "CheckpointError";
}
