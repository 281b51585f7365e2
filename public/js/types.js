// The shapes that travel between the modules and over the wire (see the gateway's REST and WebSocket messages).
// Types only: nothing here exists at run time.

/**
 * @typedef {[lon: number, lat: number]} Coordinate  WGS 84 degrees.
 * @typedef {{lat: number, lon: number}} LatLon  A position as the API writes it.
 *
 * @typedef {object} Vehicle
 * @property {string} [make]
 * @property {string} [model]
 * @property {string} [color]
 * @property {string} [plate]
 * @property {string} [category]
 *
 * @typedef {object} Driver  A driver as the API writes it.
 * @property {string} id
 * @property {string} name
 * @property {Vehicle} [vehicle]
 * @property {number} lat
 * @property {number} lon
 * @property {number} [heading]  Degrees clockwise from north.
 * @property {number} [speed]  Metres per second.
 * @property {string} [status]
 * @property {number} [distance_m]
 *
 * @typedef {object} Trip
 * @property {string} id
 * @property {string} rider_id
 * @property {string} driver_id
 * @property {{id: string, name: string, vehicle?: Vehicle}} [driver]
 * @property {'in_progress' | 'completed' | 'cancelled'} status
 * @property {LatLon} pickup
 * @property {LatLon} dropoff
 * @property {string} created_at
 * @property {string} [picked_up_at]
 * @property {string} [ended_at]
 *
 * @typedef {object} TripPosition
 * @property {number} lat
 * @property {number} lon
 * @property {number} [heading]
 * @property {number} [speed]
 * @property {string} [at]
 * @property {boolean} [stale]  no newer position has come for a while
 *
 * @typedef {object} Problem  An RFC 9457 problem.
 * @property {string} code
 * @property {number} status
 * @property {string} [title]
 * @property {string} [detail]
 * @property {{pointer: string, detail: string}[]} [errors]
 * @property {Driver[]} [alternatives]
 * @property {string} [active_trip_id]
 *
 * @typedef {object} Place  A pick-up or a destination.
 * @property {Coordinate} at
 * @property {string} name
 * @property {string} [detail]  A second line: what kind of place it is.
 *
 * @typedef {object} Snap  A point on the road graph.
 * @property {number} edge
 * @property {number} share  Share of the edge's length, counted from its `from` node.
 * @property {Coordinate} at
 * @property {number} offMetres  Distance of the asked point from the road.
 * @property {string} street  "" where the street has no name.
 *
 * @typedef {object} Route
 * @property {Coordinate[]} points
 * @property {number} metres
 * @property {number} seconds
 *
 * @typedef {object} Reach  How far a car is from a place, on the road graph.
 * @property {number} metres
 * @property {number} seconds
 * @property {string} street  The street that the car is on, "" where it has no name.
 *
 * @typedef {{top: number, right: number, bottom: number, left: number}} Padding  CSS pixels.
 */

export {};
