/** Types of the drawing library's targets, which it does not export by name. */

import type { ICustomSeriesPaneRenderer } from "lightweight-charts";

export type DrawingTarget = Parameters<ICustomSeriesPaneRenderer["draw"]>[0];
/** A canvas in device pixels, and the ratios of these to CSS pixels. */
export type Scope = Parameters<Parameters<DrawingTarget["useBitmapCoordinateSpace"]>[0]>[0];
