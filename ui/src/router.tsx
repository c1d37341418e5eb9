// Every view is a URL: which routes there are, and what their search says. A search that makes no sense is read as if
// it were not there.
import { QueryClient } from '@tanstack/react-query';
import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  retainSearchParams,
} from '@tanstack/react-router';
import { worthRetrying } from './api/errors';
import { ErrorScreen, MissingScreen } from './shell/ErrorScreen';
import { Root } from './shell/Root';
import { instanceSearch, type InstanceSearch } from './screens/instance/search';
import { inventorySearch } from './screens/inventory/search';
import { mapSearch } from './screens/map/search';

export const client = new QueryClient({
  defaultOptions: { queries: { retry: worthRetrying, refetchOnWindowFocus: false, staleTime: 2_000 } },
});

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' && value.length < 2000 ? value : undefined;

/** Namespace that lists are narrowed to; it goes along from screen to screen. */
export interface Scope {
  ns?: string;
}

const root = createRootRoute({
  component: Root,
  errorComponent: ErrorScreen,
  notFoundComponent: MissingScreen,
  validateSearch: (search: Record<string, unknown>): Scope => {
    const ns = text(search['ns']);
    return ns ? { ns } : {};
  },
  search: { middlewares: [retainSearchParams(['ns'])] },
});

const home = createRoute({
  getParentRoute: () => root,
  path: '/',
  component: lazyRouteComponent(() => import('./screens/home/Home'), 'Home'),
});

const inventory = createRoute({
  getParentRoute: () => root,
  path: '/inventory/$plural',
  validateSearch: inventorySearch,
  component: lazyRouteComponent(() => import('./screens/inventory/Inventory'), 'Inventory'),
});

export const TABS = ['overview', 'logs', 'terminal', 'impact', 'timeline', 'graph', 'yaml'] as const;
export type Tab = (typeof TABS)[number];
export interface ObjectSearch extends InstanceSearch {
  tab?: Tab;
  /** Open parts of the screen, such as a step of a run. */
  step?: string;
}

const object = createRoute({
  getParentRoute: () => root,
  path: '/o/$plural/$namespace/$name',
  validateSearch: (search: Record<string, unknown>): ObjectSearch => {
    const tab = TABS.find((each) => each === search['tab'] && each !== 'overview');
    const step = text(search['step']);
    return { ...(tab ? { tab } : {}), ...(step ? { step } : {}), ...instanceSearch(search) };
  },
  component: lazyRouteComponent(() => import('./screens/object/ObjectPage'), 'ObjectPage'),
});

export interface NewSearch {
  /** Labels that targets have, as `a=b,c=d`. */
  selector?: string;
  kind?: string;
}

const create = createRoute({
  getParentRoute: () => root,
  path: '/new/$plural',
  validateSearch: (search: Record<string, unknown>): NewSearch => {
    const selector = text(search['selector']);
    const kind = text(search['kind']);
    return { ...(selector ? { selector } : {}), ...(kind ? { kind } : {}) };
  },
  component: lazyRouteComponent(() => import('./screens/create/Create'), 'Create'),
});

const map = createRoute({
  getParentRoute: () => root,
  path: '/map',
  validateSearch: mapSearch,
  component: lazyRouteComponent(() => import('./screens/map/FleetMap'), 'FleetMap'),
});

export interface ImpactSearch {
  /** What goes, as `screens/impact/targets.ts` writes it. */
  on?: string[];
}

const impact = createRoute({
  getParentRoute: () => root,
  path: '/impact',
  validateSearch: (search: Record<string, unknown>): ImpactSearch => {
    const on = Array.isArray(search['on']) ? search['on'].filter((each) => text(each)).slice(0, 100) : [];
    return on.length > 0 ? { on: on as string[] } : {};
  },
  component: lazyRouteComponent(() => import('./screens/impact/ImpactScreen'), 'ImpactScreen'),
});

export interface CalendarSearch {
  /** First day shown, as `2026-12-01`. */
  from?: string;
  days?: number;
}

const calendar = createRoute({
  getParentRoute: () => root,
  path: '/calendar',
  validateSearch: (search: Record<string, unknown>): CalendarSearch => {
    const from = text(search['from']);
    const days = Number(search['days']);
    return {
      ...(from && /^\d{4}-\d{2}-\d{2}$/.test(from) ? { from } : {}),
      ...([1, 7, 14, 28].includes(days) && days !== 7 ? { days } : {}),
    };
  },
  component: lazyRouteComponent(() => import('./screens/calendar/Calendar'), 'Calendar'),
});

export const router = createRouter({
  routeTree: root.addChildren([home, inventory, object, create, map, impact, calendar]),
  defaultPreload: 'intent',
  defaultErrorComponent: ErrorScreen,
  scrollRestoration: true,
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
