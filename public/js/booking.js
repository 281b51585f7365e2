// Books a trip. The Idempotency-Key belongs to what is asked for and is kept until an answer comes, over a reload too: asking
// again after silence can't book twice.

import { NoAnswer, call, randomID } from './api.js';

/**
 * @typedef {import('./types.js').Trip} Trip
 * @typedef {import('./types.js').Problem} Problem
 * @typedef {import('./types.js').LatLon} LatLon
 *
 * @typedef {{kind: 'booked', trip: Trip}
 *   | {kind: 'taken', alternatives: import('./types.js').Driver[]}
 *   | {kind: 'active', tripID: string}
 *   | {kind: 'refused', problem: Problem}
 *   | {kind: 'retry', detail: string}} Outcome
 */

const pendingKey = 'cabstand.booking';
const riderKey = 'cabstand.rider';

/** This browser's rider, where the gateway asks nobody who they are. */
export function rider() {
  try {
    const known = localStorage.getItem(riderKey);
    if (known && /^[A-Za-z0-9._-]{1,64}$/.test(known)) return { id: known, isNew: false };
    const id = `rider-${randomID().slice(0, 12)}`;
    localStorage.setItem(riderKey, id);
    return { id, isNew: true };
  } catch {
    return { id: `rider-${randomID().slice(0, 12)}`, isNew: true };
  }
}

/** The key for a body: the one already sent with it, if no answer to it has come. @param {string} body */
function keyFor(body) {
  try {
    const pending = JSON.parse(sessionStorage.getItem(pendingKey) ?? 'null');
    if (pending?.body === body && typeof pending.key === 'string') return pending.key;
    const key = randomID();
    sessionStorage.setItem(pendingKey, JSON.stringify({ key, body }));
    return key;
  } catch {
    memory = memory?.body === body ? memory : { key: randomID(), body };
    return memory.key;
  }
}

/** Where storage is off. @type {{key: string, body: string} | null} */
let memory = null;

function answered() {
  memory = null;
  try {
    sessionStorage.removeItem(pendingKey);
  } catch {
    // Storage is off: `memory` was all there was.
  }
}

/**
 * @param {{riderID: string, driverID: string, pickup: LatLon, dropoff: LatLon}} wish
 * @returns {Promise<Outcome>}
 */
export async function book({ riderID, driverID, pickup, dropoff }) {
  const body = JSON.stringify({ rider_id: riderID, driver_id: driverID, pickup, dropoff });
  let answer;
  try {
    answer = await call('POST', 'trips', { body, key: keyFor(body) });
  } catch (error) {
    if (error instanceof NoAnswer) return { kind: 'retry', detail: 'No answer came. Trying again can’t book twice.' };
    throw error;
  }
  const { status, problem } = answer;
  if (problem === null) {
    answered();
    return { kind: 'booked', trip: answer.body };
  }
  if (status >= 500 || status === 429 || problem.code === 'key-in-progress') {
    const detail = problem.detail ?? 'The service is busy.';
    return { kind: 'retry', detail };
  }
  answered();
  if (problem.code === 'driver-unavailable' || problem.code === 'no-driver-available') {
    return { kind: 'taken', alternatives: Array.isArray(problem.alternatives) ? problem.alternatives : [] };
  }
  if (problem.code === 'rider-has-active-trip' && typeof problem.active_trip_id === 'string') {
    return { kind: 'active', tripID: problem.active_trip_id };
  }
  return { kind: 'refused', problem };
}

/** The trip that this rider is on, or null. @param {string} riderID @returns {Promise<Trip | null>} */
export async function activeTrip(riderID) {
  try {
    const query = new URLSearchParams({ rider_id: riderID, status: 'in_progress', page_size: '1' });
    const { body, problem } = await call('GET', `trips?${query}`);
    return problem === null && Array.isArray(body.trips) && body.trips.length > 0 ? body.trips[0] : null;
  } catch {
    return null;
  }
}
