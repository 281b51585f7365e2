// The map on the screen: the view, its two canvases, the frame loop, and what the panels leave free of it.

import { BaseMap } from './basemap.js';
import { Overlay } from './overlay.js';
import { View } from './view.js';
import { button, byID } from './dom.js';

/** The old town: where the map opens. @type {import('./types.js').Coordinate} */
const home = [13.2615, 53.5572];

/** The buttons beside the panel, CSS pixels. */
const controlsPixels = 60;

/** How long the view stands still before what it shows is asked for, and how often while it moves, milliseconds. */
const stillMs = 200;
const movingMs = 1000;

export class Stage {
  /**
   * @param {import('./data.js').Roads} roads
   * @param {import('./cars.js').CarStore} store
   * @param {import('./theme.js').Palette} palette
   * @param {() => void} looked  The view shows something else than it did, whoever moved it.
   */
  constructor(roads, store, palette, looked) {
    this.looked = looked;
    /** What the view shows, since when it stands still, and when `looked` was last called. */
    this.shown = { x: 0, y: 0, zoom: 0, width: 0, height: 0, since: 0, told: 0, isTold: true };
    this.element = byID('map');
    this.bbox = roads.bbox;
    this.store = store;
    this.view = new View(roads.bbox);
    this.base = new BaseMap(byID('ground'), roads, this.view, palette);
    this.overlay = new Overlay(byID('overlay'), store, this.view, palette);
    /** The view keeps to the own car until the person moves the map. */
    this.following = false;
    this.followed = 0;
    this.resize();
    this.open();
    const observer = new ResizeObserver(() => this.resize());
    observer.observe(this.element);
    observer.observe(byID('panel'));
    observer.observe(byID('top'));
    requestAnimationFrame((now) => this.frame(now));
  }

  /** The first view: the old town. */
  open() {
    this.view.zoom = this.view.width < 760 ? 13.3 : 13.7;
    this.view.glideTo(home);
    if (this.view.easing) {
      [this.view.x, this.view.y] = this.view.easing.to;
      this.view.easing = null;
    }
  }

  resize() {
    const { view } = this;
    const box = this.element.getBoundingClientRect();
    const ratio = Math.min(devicePixelRatio || 1, 3);
    const grown = box.width !== view.width || box.height !== view.height || ratio !== this.base.ratio;
    view.width = Math.max(1, box.width);
    view.height = Math.max(1, box.height);
    const panel = byID('panel').getBoundingClientRect();
    const top = byID('top').getBoundingClientRect();
    const beside = panel.width < box.width - 40;
    view.padding = beside
      ? { top: 16, right: box.right - panel.left + controlsPixels, bottom: 30, left: 16 }
      : { top: top.bottom, right: 0, bottom: box.bottom - panel.top, left: 0 };
    if (!grown) return;
    this.base.resize(ratio);
    this.overlay.resize(ratio);
  }

  /** @param {import('./theme.js').Palette} palette */
  recolour(palette) {
    this.base.recolour(palette);
    this.overlay.recolour(palette);
  }

  /** @param {boolean} on */
  follow(on) {
    this.following = on;
    const own = this.store.own ? this.store.cars.get(this.store.own) : undefined;
    if (on && own) this.view.glideTo(own.at, Math.max(this.view.zoom, 14.6));
    this.offerFollow();
  }

  /** The person has moved the map. */
  letGo() {
    if (!this.following) return;
    this.following = false;
    this.offerFollow();
  }

  offerFollow() {
    button('follow').hidden = this.following || !this.overlay.tracking || this.store.own === null;
  }

  /** @param {number} time milliseconds */
  frame(time) {
    requestAnimationFrame((now) => this.frame(now));
    const now = performance.now();
    const { view } = this;
    view.step(time);
    const own = this.following && this.store.own ? this.store.cars.get(this.store.own) : undefined;
    const pause = view.calm.matches ? 0 : Math.min(125, (340 * view.metresPerPixel) / 14) - 4;
    if (own && !view.easing && now - this.followed >= pause) {
      this.followed = now;
      view.follow(...own.world(now));
    }
    this.base.paint();
    this.overlay.paint(now);
    this.watch(now);
  }

  /** Tells of a view that has moved: by hand, by a button, by a fit, by following a car, by a window that was resized. @param {number} now */
  watch(now) {
    const { view, shown } = this;
    const { x, y, zoom, width, height } = view;
    if (x !== shown.x || y !== shown.y || zoom !== shown.zoom || width !== shown.width || height !== shown.height) {
      Object.assign(shown, { x, y, zoom, width, height, since: now, isTold: false });
    }
    if (shown.isTold || (now - shown.since < stillMs && now - shown.told < movingMs)) return;
    shown.isTold = true;
    shown.told = now;
    this.looked();
  }
}
