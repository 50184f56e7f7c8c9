// Who may do what in a space, which statement decided it, and the rules as they were written.

import { chooser } from '/assets/choose.js';
import { element, empty, heading, table, tell, trouble } from '/assets/element.js';
import { id, line, moment, plain, sentence } from '/assets/show.js';

// Of so many commits the rules among them are shown.
const LOOKED_AT = 500;
const SHOWN = 100;
// Most of what changes is no rule.
const CALM = 1000;

export function members(app, scope) {
  const choice = chooser(app, (chosen) => app.go({ ...chosen, view: 'members' }), false);
  const answer = element('div');
  const page = element('div', null, element('h1', null, 'Members and rules'), element('form', { class: 'ask' }, choice.parts), answer);
  let asked = 0;

  async function update(place) {
    const mine = ++asked;
    try {
      const { space } = await choice.load(place);
      if (mine !== asked) return;
      if (!space) return tell(answer, 'no space', empty('There is no space yet.', 'driftless space create notes'));
      const [list, log] = await Promise.all([app.call('effective', { space }), app.call('log', { space, limit: LOOKED_AT })]);
      if (mine === asked) tell(answer, [list, log], () => people(list), () => rules(log));
    } catch (error) {
      if (mine === asked && error.code !== 'disconnected') tell(answer, String(error), trouble(error));
    }
  }
  scope.on('signal', scope.calm(CALM, () => update(app.place)));
  scope.on('state', (state) => { if (state === 'open') update(app.place); });
  return { page, update };
}

function people(list) {
  const columns = [{ name: 'Who', wide: true }, { name: 'May' }, { name: 'Decided by', wide: true }];
  const rows = list.map((one) => [
    [one.subject === '*' ? 'anyone' : id(one.subject), one.you ? element('span', { class: 'tag' }, 'you') : null],
    may(one),
    [one.decided_by.map((ruling) => element('div', null, told(ruling))),
      one.void.map((ruling) => element('div', { class: 'faint' }, element('s', null, told(ruling)), ' ', sentence(ruling.void ?? '')))],
  ]);
  return element('section', null, heading('Members'), table('Members', columns, rows),
    list.length < 2 ? empty('Nobody else is let in. Make a ticket, or grant a key:', 'driftless ticket SPACE --permission write', 'driftless grant SPACE KEY write') : null);
}

function may(one) {
  if (!one.permission) return element('span', { class: 'bad' }, 'nothing');
  const [permission, strength] = plain(one.permission).split(':');
  return [permission, strength ? element('span', { class: 'faint', title: 'Strength: smaller is stronger' }, ` ${strength}`) : null,
    one.as_anyone ? element('span', { class: 'faint' }, ' as anyone') : null];
}

function told(ruling) {
  const given = ruling.permission ? plain(ruling.permission) : 'nothing';
  return [`${plain(ruling.kind)}: ${given}, by `, id(ruling.author), ' at ', moment(ruling.time), ' ', id(ruling.commit)];
}

function rules(log) {
  const found = log.filter((commit) => commit.kind === 'rules');
  const columns = [{ name: 'Time' }, { name: 'Author' }, { name: 'State' }, { name: 'Rules', wide: true }, { name: 'Commit' }];
  const rows = found.slice(0, SHOWN).map((commit) => [
    moment(commit.time), id(commit.author), element('span', { class: 'tag', 'data-state': plain(commit.state) }, plain(commit.state)),
    element('code', { class: 'small' }, commit.edits.map((edit) => line(edit, 300)).join(' ')), id(commit.commit)]);
  const note = log.length === LOOKED_AT || found.length > SHOWN ? 'The newest of them.' : 'The newest first.';
  return element('section', null, heading('Rules'), element('p', { class: 'faint' }, note), table('Rules', columns, rows));
}
