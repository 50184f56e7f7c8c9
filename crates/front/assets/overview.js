// What there is and how it goes: spaces, peers, and what does not count, waits or was refused.

import { bounded, element, empty, heading, tell, trouble } from '/assets/element.js';
import { advice, age, bytes, id, moment, number, plain, sentence } from '/assets/show.js';

// Asked again as often, besides after every signal.
const AGAIN = 5000;
// Signals come in bursts; one look follows each.
const CALM = 200;
// Lines of a table; each peer is one question more.
const SPACES = 500;
const PEERS = 50;
const REASONS = 100;

export function overview(app, scope) {
  const about = element('div', { class: 'about' });
  const spaces = element('div', { class: 'body' });
  const peers = element('div', { class: 'body' });
  const waiting = element('div');
  const sync = element('button', { type: 'button', onclick: exchange }, 'Sync now');
  // Hidden until the first answer, so that nothing is seen to move down.
  const rest = element('div', { hidden: true },
    element('section', null, heading('Spaces', sync), spaces),
    element('section', null, heading('Peers'), peers), waiting);
  const page = element('div', { class: 'overview' },
    element('h1', { class: 'unseen' }, 'Overview'), about,
    rest);
  let asked = 0;

  async function look() {
    const mine = ++asked;
    try {
      const [hello, status, known] = await Promise.all([app.call('hello'), app.call('status'), app.call('peers')]);
      known.sort((one, other) => (other.connected === true) - (one.connected === true) || (other.last_sync ?? 0) - (one.last_sync ?? 0));
      const looked = await Promise.all(known.slice(0, PEERS).map((peer) => app.call('peer', { peer: peer.peer }).catch(() => peer)));
      if (mine !== asked) return;
      const names = new Map(status.spaces.map((space) => [space.space, space.name]));
      tell(about, [hello, status.ok, status.bytes, status.requests], () => facts(hello, status));
      tell(spaces, status.spaces, () => status.spaces.length ? spacesTable(status.spaces) : empty('There is no space yet. A space holds documents and says who may do what with them.', 'driftless space create notes'));
      tell(peers, [looked, known.length, [...names]], () => looked.length ? peersTable([...looked, ...known.slice(PEERS)], names) : empty('No peer is known yet. Let one in with a ticket, or join one.', 'driftless ticket SPACE', 'driftless join TICKET'));
      rest.hidden = false;
      tell(waiting, [status.spaces, status.refused, status.copied], () => reasons(status));
    } catch (error) {
      if (mine === asked && error.code !== 'disconnected') tell(about, String(error), trouble(error));
    }
  }

  async function exchange() {
    sync.disabled = true;
    try {
      const done = await app.call('sync', {});
      const failed = done.filter((one) => one.error);
      const moved = done.reduce((sum, one) => sum + (one.sent ?? 0) + (one.received ?? 0), 0);
      app.say(failed.length ? `${failed.length} of ${done.length} failed: ${failed[0].error.message}` : `Synced: ${moved} commits went over`);
    } catch (error) {
      app.say(error.hint ? `${error.message}: ${error.hint}` : error.message);
    }
    sync.disabled = false;
    look();
  }

  const soon = scope.calm(CALM, look);
  scope.on('signal', soon);
  scope.on('state', (state) => { if (state === 'open') look(); });
  scope.stream('events', {}, { event: soon });
  scope.every(AGAIN, look);
  return { page, update: look };

  function spacesTable(list) {
    const columns = [{ name: 'Space', wide: true }, { name: 'Documents', number: true }, { name: 'Commits', number: true },
      { name: 'Held', number: true }, { name: 'Void', number: true }, { name: 'Wanted', number: true },
      { name: 'Lag', number: true }, { name: 'Exchanged', wide: true }];
    return bounded('Spaces', columns, list.map((space) => [
      [element('a', { href: app.address({ view: 'documents', space: space.space }) }, plain(space.name) || 'unnamed'), ' ', id(space.space)],
      number(space.documents), number(space.commits),
      count(space.held.count), count(space.void.count), count(space.wanted.count),
      number(space.lag), exchanged(space.sync),
    ]), SPACES);
  }
}

function facts(hello, status) {
  const fine = status.ok;
  const word = fine ? 'All is well' : 'Something needs a look';
  return [
    element('p', { class: 'state', 'data-ok': String(fine) }, word),
    element('dl', { class: 'facts' },
      fact('User', plain(hello.user)), fact('Signs as', id(hello.author)), fact('This database', hello.peer ? id(hello.peer) : 'not online'),
      fact('On disk', bytes(status.bytes)), fact('Requests', number(status.requests)), fact('Version', plain(hello.version))),
  ];
}

const fact = (name, ...value) => element('div', null, element('dt', null, name), element('dd', null, ...value));

const count = (value) => (value ? element('strong', { class: 'count' }, number(value)) : number(value));

function exchanged(wants) {
  if (!wants) return element('span', { class: 'faint' }, 'off');
  const at = wants.interval ? `every ${wants.interval} s` : null;
  return [wants.on_commit && 'at once', at].filter(Boolean).join(', ') || 'when asked';
}

function peersTable(list, names) {
  const columns = [{ name: 'Peer', wide: true }, { name: 'Now', wide: true }, { name: 'Lag', number: true }, { name: 'Last sync' },
    { name: 'Went well', number: true }, { name: 'Spaces', wide: true }];
  return bounded('Peers', columns, list.map((peer) => {
    const lags = peer.exchanges.map((one) => one.lag).filter((lag) => lag !== null && lag !== undefined);
    const lag = lags.length ? Math.max(...lags) : null;
    const lists = peer.spaces.length ? peer.spaces : peer.exchanges.map((one) => one.space);
    const shared = lists.map((space) => plain(names.get(space) ?? 'another')).join(', ');
    return [
      [peer.name ? `${plain(peer.name)} ` : null, id(peer.peer), element('div', { class: 'faint small' }, peer.addresses[0] ? plain(peer.addresses[0]) : 'it dials us')],
      [dot(peer), peer.last_error ? element('div', { class: 'bad small' }, plain(peer.last_error)) : null],
      // Of one that only dials us nothing is written down.
      number(lag), peer.last_sync || peer.addresses.length ? age(peer.last_sync) : number(null),
      peer.rate === null ? number(null) : `${Math.round(peer.rate * 100)} %`,
      shared || number(null),
    ];
  }), PEERS);
}

function dot(peer) {
  const words = { true: 'connected', false: 'away', null: 'unknown' };
  return element('span', { class: 'dot', 'data-on': String(peer.connected) }, words[String(peer.connected)],
    peer.waiting.length ? element('span', { class: 'faint' }, `, ${peer.waiting.length} to send`) : null);
}

const MEANING = {
  held: 'Their time is too far ahead of our clock; they take part when it is due.',
  void: 'They were let in and do not count, or no longer do.',
  wanted: 'They count, and their content has not arrived.',
};

function reasons(status) {
  const lists = ['held', 'void', 'wanted'].map((state) => {
    const rows = status.spaces.flatMap((space) => space[state].commits.map((commit) => [
      id(commit.commit), plain(space.name), id(commit.author), moment(commit.time), sentence(commit.reason)]));
    const all = status.spaces.reduce((sum, space) => sum + space[state].count, 0);
    return rows.length ? element('section', null, heading(`${state[0].toUpperCase()}${state.slice(1)}`, element('span', { class: 'faint' }, number(all))),
      element('p', { class: 'faint' }, MEANING[state]),
      bounded(state, [{ name: 'Commit' }, { name: 'Space' }, { name: 'Author' }, { name: 'Time' }, { name: 'Why', wide: true }], rows, REASONS)) : null;
  });
  const forks = status.spaces.flatMap((space) => space.forked.map((fork) => [
    id(fork.author), plain(space.name), number(fork.seq), age(fork.since)]));
  const refused = status.refused.map((line) => [
    moment(line.time), element('code', null, plain(line.code)), line.author ? id(line.author) : number(null), number(line.times),
    sentence(line.reason)]);
  return [
    ...lists,
    forks.length ? element('section', null, heading('Forked'), element('p', { class: 'faint' }, 'An author has signed two commits of one number: it was copied or restored.'),
      bounded('Forked', [{ name: 'Author' }, { name: 'Space' }, { name: 'Number', number: true }, { name: 'Since' }], forks, REASONS)) : null,
    status.copied ? element('section', null, heading('Copied'), trouble({ code: 'copied', message: 'Another copy of this database signs with the same key.', hint: '' }), element('p', null, advice('`driftless doctor` says what to do.'))) : null,
    refused.length ? element('section', null, heading('Refused', element('span', { class: 'faint' }, number(refused.length))),
      element('p', { class: 'faint' }, 'What was not let in, by the bytes that came.'),
      bounded('Refused', [{ name: 'Time' }, { name: 'Code' }, { name: 'Author' }, { name: 'Times', number: true }, { name: 'Why', wide: true }], refused, REASONS)) : null,
  ];
}
