// The numbers over and under the charts: how much is going on, the store, slow readers, what is refused, the process.

import { byId, make } from '../shared/elements'
import type { Stats } from './client'
import { type Sample, sum } from './samples'
import { ago, bytes, count, counted, lasted, percent, rate, took } from './words'

type Facts = [label: string, value: string, trouble?: 'bad' | 'warn' | ''][]

/** Show them as of now; `first` is the first answer that this page got, from which "since you look" counts. */
export const showOverview = (stats: Stats, sample: Sample, first: Stats): void => {
  tiles(stats, sample)
  facts('store', storeFacts(stats, sample))
  facts('slow', slowFacts(stats))
  facts('process', processFacts(stats, sample))
  refusals(stats, first)
  byId('server').textContent = `${stats.node} · ${stats.version} · up for ${lasted(stats.uptime)}`
}

const set = (id: string, text: string): void => {
  const place = byId(id)
  if (place.textContent !== text) place.textContent = text
}

const tiles = ({ connections, users, rooms, sessions }: Stats, { updates, messages, queuedMost }: Sample): void => {
  set('tile-sessions', count(Object.values(sessions).reduce((all, one) => all + one, 0)))
  set('tile-connections', `on ${counted(connections, 'connection')}`)
  set('tile-users', count(users))
  set('tile-rooms', count(rooms))
  set('tile-updates', rate(updates))
  set('tile-messages', `of ${rate(messages)} messages received`)
  set('tile-latency', took(queuedMost))
}

const storeFacts = ({ store, totals }: Stats, { commits, storedMost }: Sample): Facts => [
  ['Kind', store.kind],
  ['State', store.ready ? 'stores' : 'away', store.ready ? '' : 'bad'],
  ['Not stored yet', bytes(store.unstored_bytes), store.unstored_bytes > 8e6 ? 'warn' : ''],
  ['Oldest of it', store.unstored_bytes ? lasted(store.unstored_age) : 'nothing waits', store.unstored_age > 5 ? 'warn' : ''],
  ['Writes a second', rate(commits)],
  ['99 % of them take', took(storedMost)],
  ['Failures', count(sum(totals.store_failures)), sum(totals.store_failures) ? 'warn' : ''],
  ['In quarantine since the start', count(sum(totals.quarantined)), sum(totals.quarantined) ? 'bad' : '']
]

const slowFacts = ({ queues, totals }: Stats): Facts => [
  ['Slow readers now', count(queues.slow), queues.slow ? 'warn' : ''],
  ['Waits for them', `${bytes(queues.bytes)} in ${counted(queues.messages, 'message')}`],
  ['Stalls', count(sum(totals.stalls))],
  ['Repaired with one diff', count(sum(totals.repairs))],
  ['Messages of others missed', count(sum(totals.relays_dropped))],
  ['Closed as too slow', count(sum(totals.slow_closed))],
  ['Pauses for who sends too much', count(sum(totals.throttled))]
]

const processFacts = ({ process, totals, started }: Stats, { cpu, lag }: Sample): Facts => [
  ['Process', String(process.pid)],
  ['Started', `${ago(started)} ago`],
  ['Memory', bytes(process.rss)],
  ['Processor', percent(cpu), cpu !== null && cpu > 90 ? 'warn' : ''],
  ['Lag of the event loop', took(lag), lag !== null && lag > 100 ? 'warn' : ''],
  ['Greenlets', count(process.greenlets)],
  ['Faults of its own', count(faults(totals)), faults(totals) ? 'bad' : '']
]

const faults = (totals: Stats['totals']): number => sum(totals.room_faults) + sum(totals.hub_faults) + sum(totals.greenlet_deaths)

const labelled = (total: Stats['totals'][string] | undefined, label: string): number =>
  typeof total === 'object' ? total[label] ?? 0 : 0

const facts = (id: string, rows: Facts): void => {
  const list = byId(id)
  if (list.childElementCount === 0) list.append(...rows.map(([label]) => make('div', '', make('dt', '', label), make('dd', 'number'))))
  for (const [index, [, value, trouble = '']] of rows.entries()) {
    const place = list.children[index]!.lastElementChild as HTMLElement
    if (place.textContent !== value) place.textContent = value
    place.className = `number ${trouble}`
  }
}

/** A code, which may be broken behind its underscores. */
const breakable = (code: string): (Node | string)[] => code.split(/(?<=_)/).flatMap(part => [part, make('wbr')])

/** Where something is refused: the counter, and what that is in words. */
const REFUSALS: [counter: string, what: string][] = [
  ['upgrades_refused', 'Upgrades'], ['refused', 'Messages'], ['requests_refused', 'Document API'],
  ['admin_refused', 'Admin interface'], ['closed', 'Closed by the server']
]

const refusals = ({ totals, started }: Stats, first: Stats): void => {
  const rows = REFUSALS.flatMap(([counter, what]) => Object.entries(typeof totals[counter] === 'object' ? totals[counter] : {})
    .map(([code, value]) => ({ what, code, value, before: started === first.started ? labelled(first.totals[counter], code) : 0 })))
  rows.sort((one, other) => other.value - one.value)
  byId('refusals-empty').hidden = rows.length > 0
  byId('refusals-table').hidden = rows.length === 0
  byId('refusals').replaceChildren(...rows.slice(0, 12).map(({ what, code, value, before }) => make('tr', '',
    make('td', '', what), make('td', '', make('code', '', ...breakable(code))), make('td', 'number', count(value)),
    make('td', 'number', value > before ? `+${count(value - before)}` : '0')
  )))
}
