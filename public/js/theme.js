// Light and dark: the system's choice until the person makes one. The panel's colours live in style.css; these are the map's.

/** @typedef {typeof palettes.light} Palette */

export const palettes = {
  light: {
    land: '#f3f1ea', farm: '#f5f1df', residential: '#ebe7df', industrial: '#e8e3ea', green: '#d7e9cc', wood: '#c2dcb6',
    sport: '#cbe6d3', sand: '#f2e6c2', parking: '#e9e7ea', water: '#a6d2ee', building: '#dbd5cb', buildingEdge: '#c9c1b5',
    path: '#d8b9a0', track: '#cdb894', service: '#ffffff', casing: '#c9c0b2', minor: '#ffffff', secondary: '#fff1bd',
    primary: '#ffd684', primaryCasing: '#dda94a', rail: '#a9a4a0', wall: '#8d7f72', label: '#39404e', halo: '#fffffff2',
    place: '#5d4f87',
    carAvailable: '#087f5b', carOwn: '#3b5bdb', carIdle: '#7d8794', carEdge: '#ffffff', carGlass: '#141c28',
    pickup: '#0b7a58', pinEdge: '#ffffff', shadow: 'rgba(16, 24, 40, 0.35)',
  },
  dark: {
    land: '#11151b', farm: '#12181a', residential: '#161b23', industrial: '#181a25', green: '#13231b', wood: '#102018',
    sport: '#15281f', sand: '#25231a', parking: '#181d26', water: '#0f2b45', building: '#1e2531', buildingEdge: '#2a3342',
    path: '#2b3240', track: '#2b2f33', service: '#252d3a', casing: '#0b0e13', minor: '#333e4e', secondary: '#4a5568',
    primary: '#7a6740', primaryCasing: '#0b0e13', rail: '#3a4049', wall: '#5b5148', label: '#c3cddc', halo: '#0b0e13e6',
    place: '#b3a4dd',
    carAvailable: '#2ee6a6', carOwn: '#7aa2ff', carIdle: '#8b97a8', carEdge: '#0b0e13', carGlass: '#0b0e13',
    pickup: '#2ee6a6', pinEdge: '#0b0e13', shadow: 'rgba(0, 0, 0, 0.6)',
  },
};

const storageKey = 'cabstand.theme';

export class Theme {
  /** @param {(palette: Palette) => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    this.system = matchMedia('(prefers-color-scheme: dark)');
    this.system.addEventListener('change', () => {
      if (!this.chosen) this.apply(this.system.matches ? 'dark' : 'light');
    });
    let chosen = null;
    try {
      chosen = localStorage.getItem(storageKey);
    } catch {
      // Storage is off: nothing was chosen.
    }
    this.chosen = chosen === 'light' || chosen === 'dark';
  }

  /** @returns {'light' | 'dark'} */
  get name() {
    return document.documentElement.dataset.theme === 'dark' ? 'dark' : 'light';
  }

  get palette() {
    return palettes[this.name];
  }

  toggle() {
    const name = this.name === 'dark' ? 'light' : 'dark';
    this.chosen = true;
    try {
      localStorage.setItem(storageKey, name);
    } catch {
      // Storage is off: the choice lasts as long as the page.
    }
    this.apply(name);
  }

  /** @param {'light' | 'dark'} name */
  apply(name) {
    document.documentElement.dataset.theme = name;
    this.onChange(this.palette);
  }
}
