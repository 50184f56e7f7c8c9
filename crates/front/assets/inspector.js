// The page: takes the token, keeps the connection, shows the view that the address names. Views know nothing of
// each other; where the reader is stands in the fragment, so that reloading, going back and links work.

import { Connection } from '/assets/connection.js';
import { element, empty, fill, trouble } from '/assets/element.js';
import { tick } from '/assets/show.js';
import { overview } from '/assets/overview.js';
import { documents } from '/assets/documents.js';
import { explain } from '/assets/explain.js';
import { members } from '/assets/members.js';
import { log } from '/assets/log.js';

const VIEWS = { overview, documents, explain, members, log };
const NAMES = Object.keys(VIEWS);
const TOKEN = 'driftless.token';
const THEME = 'driftless.theme';
const main = document.getElementById('main');

/** What views get: the database, the place, and a scope whose ends come with the view's. */
class App {
  connection = null;
  #view = null;
  #name = null;
  #ends = new Set();

  call(op, args) {
    return this.connection.call(op, args);
  }

  /** The place as `{view, and what follows}`; what is empty is left out. */
  get place() {
    const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
    const view = NAMES.includes(path) ? path : NAMES[0];
    return { ...Object.fromEntries(new URLSearchParams(query ?? '')), view };
  }

  address({ view, ...rest }) {
    const query = new URLSearchParams(Object.entries(rest).filter(([, value]) => value !== undefined && value !== null && value !== ''));
    return `#/${view}${query.size ? `?${query}` : ''}`;
  }

  go(place) {
    const address = this.address(place);
    if (location.hash === address) this.show();
    else location.hash = address;
  }

  /** Tells a screen reader, and shows it for a moment. */
  say(text) {
    const said = document.getElementById('said');
    said.textContent = text;
    clearTimeout(this.saying);
    this.saying = setTimeout(() => { said.textContent = ''; }, 2500);
  }

  show() {
    if (!this.connection) return;
    const place = this.place;
    for (const link of document.querySelectorAll('#views a')) {
      if (link.hash === `#/${place.view}`) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
    document.title = `${place.view === 'log' ? 'sync log' : place.view} · driftless`;
    if (place.view !== this.#name) {
      this.leave();
      this.#name = place.view;
      this.#view = VIEWS[place.view](this, this.#scope());
      fill(main, this.#view.page);
      scrollTo(0, 0);
    }
    this.#view.update(place);
  }

  leave() {
    for (const end of this.#ends) end();
    this.#ends.clear();
    this.#name = this.#view = null;
  }

  #scope() {
    const ends = this.#ends;
    const connection = this.connection;
    return {
      every(ms, work) {
        const timer = setInterval(() => { if (!document.hidden) work(); }, ms);
        ends.add(() => clearInterval(timer));
      },
      /** What does the work a moment after the first of several calls, once for all of them. */
      calm(ms, work) {
        let timer = null;
        ends.add(() => clearTimeout(timer));
        return () => {
          timer ??= setTimeout(() => {
            timer = null;
            work();
          }, ms);
        };
      },
      on(what, listener) { ends.add(connection.on(what, listener)); },
      stream(op, args, heard) {
        const stop = connection.stream(op, args, heard);
        const end = () => {
          stop();
          ends.delete(end);
        };
        ends.add(end);
        return end;
      },
    };
  }

  key(event) { return this.#view?.key?.(event) ?? false; }
}

const app = new App();

function connect(token) {
  app.connection?.close();
  app.leave();
  sessionStorage.setItem(TOKEN, token);
  app.connection = new Connection(token);
  app.connection.on('state', stand);
  stand(app.connection.state);
  app.show();
}

const WORDS = { connecting: 'connecting', open: 'connected', away: 'reconnecting', refused: 'not let in' };

function stand(state) {
  const line = document.getElementById('line');
  line.dataset.state = state;
  line.textContent = WORDS[state];
  if (state !== 'refused') return;
  sessionStorage.removeItem(TOKEN);
  app.leave();
  app.connection = null;
  enter('This token is not, or no longer, the one of the database. It is a new one at each start.');
}

/** Asks for the address, or for the token in it. */
function enter(why) {
  const field = element('input', { name: 'token', id: 'token', autocomplete: 'off', spellcheck: 'false', placeholder: 'http://127.0.0.1:…/#token=…' });
  const wrong = element('div');
  const form = element('form', { class: 'enter' },
    element('label', { for: 'token' }, 'The address that it printed, or the token in it'), field,
    element('button', { class: 'first' }, 'Open'), wrong);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const token = /^[a-z2-7]{52}$/.exec(field.value.trim().replace(/^.*#token=/, ''))?.[0];
    if (token) connect(token);
    else fill(wrong, trouble({ code: 'wrong_token', message: 'This is no token.', hint: 'It has 52 characters from a to z and 2 to 7.' }));
  });
  fill(main, element('section', { class: 'door' }, element('h1', null, 'Open your database'),
    empty(why, 'driftless serve --ui'), form));
}

/** The token of an address that was just opened; it does not stay in the address bar. */
function taken() {
  const found = /^#token=([a-z2-7]{52})$/.exec(location.hash);
  if (!found) return null;
  history.replaceState(null, '', `${location.pathname}#/overview`);
  return found[1];
}

addEventListener('hashchange', () => {
  if (location.hash === '#main') return;
  const token = taken();
  if (token) connect(token);
  else app.show();
});

document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});

addEventListener('click', async (event) => {
  const copy = event.target.closest?.('[data-copy]');
  if (!copy) return;
  event.stopPropagation();
  try {
    await navigator.clipboard.writeText(copy.dataset.copy);
    app.say('Copied');
  } catch {
    app.say(copy.dataset.copy);
  }
});

const dialog = document.getElementById('help');
const help = () => dialog.showModal();
document.getElementById('keys').addEventListener('click', help);

addEventListener('keydown', (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || dialog.open) return;
  const typing = event.target.closest('input:not([type="radio"], [type="checkbox"]), textarea, select');
  if (event.key === 'Escape' && typing) return typing.blur();
  if (typing) return;
  const number = Number(event.key);
  if (NAMES[number - 1]) return app.go({ view: NAMES[number - 1], space: app.place.space });
  if (event.key === '?') return help();
  if (event.key === '/') {
    event.preventDefault();
    const query = document.getElementById('query');
    if (query) return query.focus();
    // The view is shown by the change of the fragment, which is told after this.
    addEventListener('hashchange', () => document.getElementById('query')?.focus(), { once: true });
    return app.go({ view: 'documents', space: app.place.space });
  }
  app.key(event);
});

const THEMES = ['system', 'light', 'dark'];
const themed = document.getElementById('theme');
function theme(name) {
  const root = document.documentElement;
  if (name === 'system') delete root.dataset.theme;
  else root.dataset.theme = name;
  const words = { system: 'as the system', light: 'light', dark: 'dark' };
  themed.setAttribute('aria-label', `Colours: ${words[name]}`);
  themed.textContent = { system: '◐', light: '○', dark: '●' }[name];
}
themed.addEventListener('click', () => {
  const next = THEMES[(THEMES.indexOf(localStorage.getItem(THEME) ?? 'system') + 1) % THEMES.length];
  localStorage.setItem(THEME, next);
  theme(next);
});
theme(localStorage.getItem(THEME) ?? 'system');
setInterval(tick, 5000);

const token = taken() ?? sessionStorage.getItem(TOKEN);
if (token) connect(token);
else enter('The inspector opens with the address that this prints, which holds the token:');
