// Web Mercator and distances. World coordinates run from 0 to 1; a world pixel size is 512 · 2^zoom.

/** @param {number} lon degrees */
export const mercatorX = (lon) => lon / 360 + 0.5;

/** @param {number} lat degrees */
export const mercatorY = (lat) => 0.5 - Math.log(Math.tan(Math.PI / 4 + (lat * Math.PI) / 360)) / (2 * Math.PI);

/** @param {number} x */
export const longitude = (x) => (x - 0.5) * 360;

/** @param {number} y */
export const latitude = (y) => (Math.atan(Math.exp((0.5 - y) * 2 * Math.PI)) * 360) / Math.PI - 90;

const radians = Math.PI / 180;
const metresPerDegree = 111_195;

/**
 * Metres between two points: flat-earth, exact to a few parts in a thousand within a city.
 * @param {readonly [number, number]} a
 * @param {readonly [number, number]} b
 */
export function metresBetween(a, b) {
  const dx = (b[0] - a[0]) * Math.cos(((a[1] + b[1]) / 2) * radians);
  return Math.hypot(dx, b[1] - a[1]) * metresPerDegree;
}

/**
 * Degrees clockwise from north, of the way from a to b in world coordinates.
 * @param {number} dx
 * @param {number} dy
 */
export const headingOf = (dx, dy) => (Math.atan2(dx, -dy) / radians + 360) % 360;

/**
 * The number of the range that is nearest to the value.
 * @param {number} value @param {number} low @param {number} high
 */
export const clamp = (value, low, high) => (value < low ? low : value > high ? high : value);

/**
 * @param {readonly [number, number, number, number]} box west, south, east, north
 * @param {readonly [number, number]} point
 */
export const contains = (box, point) =>
  point[0] >= box[0] && point[0] <= box[2] && point[1] >= box[1] && point[1] <= box[3];

/**
 * The nearest point of a line in the plane: which piece it is on (by its end point), its share of that piece, how far off.
 * @param {readonly (readonly [number, number])[]} points
 * @param {readonly [number, number]} at
 * @param {number} [stretch] what a step in x counts, against one in y
 */
export function nearestOnLine(points, at, stretch = 1) {
  let best = { off: Infinity, index: 0, share: 0 };
  for (let i = 1; i < points.length; i++) {
    const ax = (points[i - 1][0] - at[0]) * stretch;
    const ay = points[i - 1][1] - at[1];
    const dx = (points[i][0] - points[i - 1][0]) * stretch;
    const dy = points[i][1] - points[i - 1][1];
    const length = dx * dx + dy * dy;
    const share = length === 0 ? 0 : clamp(-(ax * dx + ay * dy) / length, 0, 1);
    const off = Math.hypot(ax + dx * share, ay + dy * share);
    if (off < best.off) best = { off, index: i, share };
  }
  return best;
}

/**
 * Metres from a point to the nearest one of a line.
 * @param {readonly (readonly [number, number])[]} points
 * @param {readonly [number, number]} at
 */
export const metresOff = (points, at) =>
  nearestOnLine(points, at, Math.cos(at[1] * radians)).off * metresPerDegree;
