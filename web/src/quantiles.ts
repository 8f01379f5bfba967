/** Which quantiles of a forecast are shown, and from how many paths on. */

/** Probabilities of the quantiles: the median, and both ends of the bands of 50, 80 and 95 %. */
export const QUANTILES = [0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975] as const;
/** Below this number of paths, quantiles are too coarse for bands. */
export const LEAST_PATHS = 20;
