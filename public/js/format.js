// Words for distances, times and people.

const time = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const kilometres = new Intl.NumberFormat('en-GB', { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat('en-GB');

/** @param {number} metres */
export function distance(metres) {
  if (metres < 995) return `${Math.max(10, Math.round(metres / 10) * 10)} m`;
  return `${kilometres.format(metres / 1000)} km`;
}

/** Whole minutes, at least one. @param {number} seconds */
export const minutes = (seconds) => `${Math.max(1, Math.round(seconds / 60))} min`;

/** The local time of an RFC 3339 instant, "" for none. @param {string | undefined} instant */
export function clock(instant) {
  const at = instant ? new Date(instant) : null;
  return at && !Number.isNaN(at.getTime()) ? time.format(at) : '';
}

/** @param {number} n @param {string} one @param {string} many */
export const count = (n, one, many) => `${whole.format(n)} ${n === 1 ? one : many}`;

/** One or two letters for the avatar. @param {string} name */
export function initials(name) {
  const words = name.trim().split(/\s+/u);
  const picked = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return picked.map((word) => [...word][0] ?? '').join('').toUpperCase();
}

/** "Grey Škoda Octavia · NB-RD 214", as far as it is known. @param {import('./types.js').Vehicle | undefined} vehicle */
export function vehicle(vehicle) {
  if (!vehicle) return '';
  const car = [vehicle.color, vehicle.make, vehicle.model].filter(Boolean).join(' ');
  const words = car.charAt(0).toUpperCase() + car.slice(1);
  return [words, vehicle.plate].filter(Boolean).join(' · ');
}
