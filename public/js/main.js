// Starts the page: the map first, then the feed, then the buildings.

import { Account } from './account.js';
import { App } from './app.js';
import { Badge } from './badge.js';
import { CarStore } from './cars.js';
import { Feed, socketURL } from './feed.js';
import { Gazetteer } from './places.js';
import { MapInput } from './input.js';
import { RoadService } from './roads.js';
import { Session } from './session.js';
import { Stage } from './stage.js';
import { Theme } from './theme.js';
import { button, byID, setAttribute, setText } from './dom.js';
import { whenRefused } from './api.js';
import { loadBuildings, loadLand, loadRoads } from './data.js';

/** The list is asked for by area once so many cars match that it is cut. */
const viewMargin = 0.5;

async function start() {
  const store = new CarStore();
  /** @type {Stage | null} */
  let stage = null;
  let ready = false;
  // What tests wait for.
  Object.defineProperty(window, '__map', {
    value: {
      get ready() { return ready; },
      get cars() { return store.available; },
      get framesDrawn() { return stage?.overlay.framesDrawn ?? 0; },
      /** Where a car is drawn, CSS pixels. @param {string} id */
      carAt(id) {
        const car = store.cars.get(id);
        if (!car || !stage) return null;
        const [x, y] = car.world(performance.now());
        const { view } = stage;
        return [(x - view.x) * view.scale + view.width / 2, (y - view.y) * view.scale + view.height / 2];
      },
      get carIDs() { return [...store.cars.keys()]; },
    },
  });

  const session = new Session();
  // Who has signed out is signed in again by a booking, not by whatever the page asks for.
  whenRefused(async () => session.state !== 'signed-out' && session.begin());
  const signedIn = session.begin();

  const { file, roads } = await loadRoads();
  await signedIn;
  const theme = new Theme((palette) => {
    stage?.recolour(palette);
    setAttribute(button('theme'), 'aria-pressed', String(theme.name === 'dark'));
  });
  setAttribute(button('theme'), 'aria-pressed', String(theme.name === 'dark'));
  const map = new Stage(roads, store, theme.palette, () => sendView());
  stage = map;
  const graph = new RoadService(file);
  const gazetteer = new Gazetteer(roads);

  /** @type {Feed | null} */
  let feed = null;
  const badge = new Badge(() => {
    feed?.connect();
    if (app.ride.tracker && !app.ride.tracker.ended) app.ride.tracker.feed.connect();
  });
  /** The badge shows the worse of the two connections. */
  const showConnection = () => {
    if (!feed) return;
    const trip = app.ride.connection;
    badge.update(feed.state.kind === 'live' && trip && trip.kind !== 'live' ? trip : feed.state);
    app.setStale(feed.state.kind !== 'live' || badge.delayed);
  };
  const app = new App({ store, stage: map, roads: graph, gazetteer, session, onTripConnection: showConnection });
  const account = new Account(session, () => app.state.trip?.status === 'in_progress');
  session.onChange = () => {
    account.render();
    // A trip is followed by whoever may see it.
    if (session.state === 'signed-out' && app.ride.tracker) app.ride.again();
  };

  let partial = false;
  const sendView = () => {
    if (!partial || !feed) return;
    feed.send({ type: 'view', bbox: map.view.bounds(viewMargin).map((d) => Number(d.toFixed(6))).join(','), interval_ms: 1000 });
  };
  let wasLive = false;
  feed = new Feed({
    url: socketURL('ws/drivers/available?interval_ms=1000'),
    pings: true,
    session,
    onMessage: (message) => {
      badge.delayed = message.stale === true;
      if (message.type !== 'drivers' || !Array.isArray(message.drivers)) return;
      // More cars than a list holds: from here on only those around the view are asked for.
      if (message.truncated === true && !partial) {
        partial = true;
        sendView();
      }
      app.list(message.drivers, partial, message.truncated === true);
      showConnection();
    },
    onState: (state) => {
      if (state.kind === 'live') {
        sendView();
        // The trip's socket has no ping of its own: it comes back together with this one.
        if (wasLive && app.ride.tracker && !app.ride.tracker.ended && app.ride.tracker.feed.state.kind === 'waiting') app.ride.tracker.feed.connect();
        wasLive = true;
      }
      showConnection();
    },
  });

  const input = new MapInput(map.element, map.view, {
    tap: (px, py) => app.tap(px, py),
    hover: (px, py) => app.hover(px, py),
    leave: () => app.hoverCar(null),
    moved: () => map.letGo(),
    settled: () => void app.presetPickup(),
    browse: (step) => app.browse(step),
    open: () => app.openBrowsed(),
    escape: () => app.escape(),
  });
  button('zoom-in').addEventListener('click', () => input.zoom(1));
  button('zoom-out').addEventListener('click', () => input.zoom(-1));
  button('fit').addEventListener('click', () => {
    map.letGo();
    app.lookAtAll();
  });
  button('theme').addEventListener('click', () => theme.toggle());
  button('follow').addEventListener('click', () => map.follow(true));
  byID('panel').addEventListener('keydown', (event) => {
    if (event.key === 'Escape') app.escape();
  });
  addEventListener('hashchange', () => void app.ride.resume());

  feed.connect();
  void app.ride.resume();
  const land = await loadLand();
  map.base.addLand(land);
  gazetteer.add(land.places);
  app.suggest();
  await app.presetPickup();
  ready = true;
  map.base.addBuildings(await loadBuildings());
}

start().catch((error) => {
  setText(byID('count'), 'The map could not be loaded. Reload the page.');
  throw error;
});
