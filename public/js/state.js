// What the page knows at a moment: everything that the panel shows.

/**
 * @typedef {import('./types.js').Driver} Driver
 * @typedef {import('./types.js').Place} Place
 * @typedef {import('./types.js').Reach} Reach
 * @typedef {import('./types.js').Route} Route
 * @typedef {import('./types.js').Trip} Trip
 * @typedef {import('./rows.js').CarRow} CarRow
 *
 * @typedef {object} State
 * @property {'idle' | 'chosen' | 'tracking'} mode
 * @property {boolean} connected
 * @property {Place | null} pickup
 * @property {boolean} preset  The pick-up is the middle of the map, not the person's own choice.
 * @property {Place | null} dropoff
 * @property {'pickup' | 'dropoff' | null} armed  The field that the next tap on the map is for.
 * @property {Driver | null} chosen
 * @property {Reach | null} chosenReach
 * @property {Route | null} tripRoute
 * @property {CarRow[]} nearby
 * @property {Place[]} suggestions
 * @property {{title: string, cars: CarRow[]} | null} offer
 * @property {boolean} busy
 * @property {boolean} retry
 * @property {Trip | null} trip
 * @property {Reach | null} tripReach
 * @property {boolean} unknown
 * @property {string} unknownDetail
 * @property {boolean} confirming
 * @property {boolean} cancelling
 * @property {{pickup: string, dropoff: string, action: string}} errors
 */

/** @returns {State} */
export const freshState = () => ({
  mode: 'idle', connected: false, pickup: null, preset: true, dropoff: null, armed: null, chosen: null,
  chosenReach: null, tripRoute: null, nearby: [], suggestions: [], offer: null, busy: false, retry: false, trip: null,
  tripReach: null, unknown: false, unknownDetail: '', confirming: false, cancelling: false,
  errors: { pickup: '', dropoff: '', action: '' },
});
