// One document: what it is, or was at a commit, its history, and what differs between two commits of it.

import { element, empty, fill, heading, trouble, walk } from '/assets/element.js';
import { same, word } from '/assets/key.js';
import { id as commitId, json, line, moment, number, plain, short } from '/assets/show.js';

const FIRST = 25;
const CALM = 40;

/** `shut` is called when the reader closes it. */
export function reading(app, shut) {
  const title = element('h2', { tabindex: '-1' });
  const why = element('a', { class: 'button' }, 'Explain');
  const close = element('button', { type: 'button', 'aria-label': 'Close the document', onclick: shut }, '✕');
  const body = element('div', { class: 'body' });
  const history = element('div');
  // Hidden until it has something, so that nothing is seen to move down.
  const before = element('section', { hidden: true }, heading('History'), history);
  const diff = element('div', { 'aria-live': 'polite' });
  const page = element('article', { class: 'document', 'aria-label': 'Document', hidden: true },
    element('div', { class: 'heading' }, title, why, close), body,
    before, diff);
  let at = null;
  let turn = 0;
  let limit = FIRST;
  let focus = false;
  let timer = null;
  let chosen = { from: null, to: null };
  let then = null;
  let told = null;
  let drawn = null;

  function open(space, collection, id) {
    const next = { space, collection, id };
    if (at && same(at, next)) return;
    at = next;
    limit = FIRST;
    chosen = { from: null, to: null };
    then = told = null;
    page.hidden = false;
    if (focus) title.focus({ preventScroll: matchMedia('(min-width: 900px)').matches });
    focus = false;
    look();
  }

  async function look() {
    if (!at) return;
    const mine = ++turn;
    const place = at;
    const [shown, log] = await Promise.allSettled([
      app.call('get', then ? { ...place, at: then } : place), app.call('log', { ...place, limit: limit + 1 })]);
    if (mine !== turn) return;
    const failure = shown.reason ?? log.reason;
    if (failure?.code === 'disconnected') return;
    // What was read before stays until all of the next is there.
    const { space, collection, id } = place;
    if (drawn !== place) {
      drawn = place;
      fill(title, plain(word(id)));
      why.href = app.address({ view: 'explain', space, collection, id: word(id) });
      fill(diff);
    }
    if (shown.status === 'fulfilled') fill(body, past(), json(shown.value));
    else if (shown.reason.code === 'not_found') fill(body, past(), missing());
    else fill(body, past(), trouble(shown.reason));
    if (log.status === 'fulfilled') drawHistory(log.value);
    else fill(history, trouble(log.reason));
    before.hidden = false;
  }

  const missing = () => empty(then ? 'It was not there then.' : 'It is not here, or deleted. Explain says why; the history says what happened.',
    `driftless explain ${short(at.space)} ${plain(at.collection)} ${plain(word(at.id))}`);

  const past = () => then && element('p', { class: 'past' }, 'As of ', commitId(then), ' ',
    element('button', { type: 'button', onclick: () => { then = null; look(); } }, 'Back to now'));

  function drawHistory(log) {
    const said = JSON.stringify([log, then]);
    if (said === told) return;
    told = said;
    if (!log.length) return fill(history, empty('No commit here edits it.'));
    const commits = log.slice(0, limit);
    const known = new Set(commits.map((commit) => commit.commit));
    if (!known.has(chosen.to)) chosen.to = commits[0].commit;
    if (!known.has(chosen.from)) chosen.from = (commits[1] ?? commits[0]).commit;
    const focused = history.contains(document.activeElement) ? document.activeElement.id : null;
    const pick = (side, commit) => element('input', {
      type: 'radio', name: side, id: `${side}-${commit}`, value: commit, checked: chosen[side] === commit, 'aria-label': `${side} ${short(commit)}`,
      onchange: () => { chosen[side] = commit; compare(); },
    });
    const rows = commits.map((commit) => element('li', { 'data-state': plain(commit.state), class: then === commit.commit ? 'then' : null },
      element('span', { class: 'picks' }, pick('from', commit.commit), pick('to', commit.commit)),
      element('div', null,
        element('p', null, element('button', { type: 'button', class: 'link', title: 'The document as of this commit', onclick: () => { then = commit.commit; look(); } }, moment(commit.time)),
          ' ', commitId(commit.author), commit.state === 'applied' ? null : element('span', { class: 'tag', 'data-state': plain(commit.state) }, plain(commit.state))),
        element('p', { class: 'edits' }, edits(commit)))));
    const list = element('ol', { class: 'history' }, rows);
    walk(list, 'button.link');
    fill(history,
      element('div', { class: 'legend' }, element('span', null, 'from'), element('span', null, 'to'),
        element('button', { type: 'button', onclick: compare, disabled: commits.length < 2 }, 'Compare')),
      list,
      log.length > limit ? element('button', { type: 'button', onclick: () => { limit *= 4; look(); } }, 'Older') : null);
    if (focused) document.getElementById(focused)?.focus();
  }

  function edits(commit) {
    const own = commit.edits.filter((edit) => edit.collection === at.collection && same(edit.id, at.id));
    const rest = commit.edits.length - own.length;
    return [own.map((edit) => line(edit.operators, 200)).join(' '), rest > 0 ? ` and ${number(rest)} other edits` : null];
  }

  async function compare() {
    const place = at;
    const { from, to } = chosen;
    try {
      const operators = await app.call('diff', { ...place, from, to });
      if (place !== at) return;
      const none = Object.keys(operators).length === 0;
      fill(diff, element('section', { class: 'diff' }, heading('Difference'),
        element('p', { class: 'faint' }, 'From ', commitId(from), ' to ', commitId(to), none ? ' nothing differs.' : ' these operators lead:'),
        none ? null : json(operators)));
    } catch (error) {
      if (place === at) fill(diff, trouble(error));
    }
  }

  return {
    page,
    open,
    close() {
      at = null;
      turn += 1;
      page.hidden = true;
    },
    /** Something in its collection changed. */
    changed() {
      if (timer) return;
      timer = setTimeout(() => { timer = null; look(); }, CALM);
    },
    /** The next one to be opened is opened by hand, and read first. */
    focusNext() { focus = true; },
  };
}
