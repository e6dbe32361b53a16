// What is wrong with the server, above everything else; read out when it comes.

import { byId, make } from '../shared/elements'
import type { Refusal } from '../shared/refusals'
import type { Stats } from './client'
import { bytes, counted, lasted, sentence } from './words'

interface Alert {
  kind: 'bad' | 'warn' | 'info'
  title: string
  text: string
}

const place = byId('alerts')
let shown = ''

/** Show what there is to say about the server as it is. */
export const showTroubles = (stats: Stats): void => showAlerts(troubles(stats))

/** Say that it does not tell how it is; `since` is when it last did, in milliseconds since 1970. */
export const showSilence = ({ status, message }: Refusal, since: number): void => showAlerts([{
  kind: 'bad',
  title: status === 0 ? 'The server does not answer' : 'The server does not tell how it is',
  text: `${status === 0 ? '' : `${sentence(message)} `}It last did ${lasted((Date.now() - since) / 1000)} ago. What is shown is what was true then; this page keeps asking.`
}])

const showAlerts = (alerts: Alert[]): void => {
  // What is read out must not change with each second.
  const words = JSON.stringify(alerts.map(({ kind, title }) => [kind, title]))
  if (words !== shown) {
    shown = words
    place.replaceChildren(...alerts.map(({ kind, title }) => make('div', `alert ${kind}`, make('strong', '', title), make('p'))))
  }
  for (const [index, { text }] of alerts.entries()) {
    const said = place.children[index]!.lastElementChild!
    if (said.textContent !== text) said.textContent = text
  }
  document.title = alerts[0] && alerts[0].kind !== 'info' ? `⚠ ${alerts[0].title} – collab` : 'collab dashboard'
}

const troubles = ({ store, queues, draining, reasons, connections }: Stats): Alert[] => {
  const found: Alert[] = []
  if (!store.ready) {
    const waiting = `${bytes(store.unstored_bytes)} of changes wait in memory, the oldest for ${lasted(store.unstored_age)}.`
    found.push({ kind: 'bad', title: 'Changes cannot be stored', text: `${sentence(store.trouble ?? 'The store does not answer')} People can go on writing. ${waiting}` })
  }
  if (draining) {
    found.push({ kind: 'warn', title: 'The server is draining', text: `It takes nobody in any more and has ${counted(connections, 'connection')} left. Start it anew to end that.` })
  }
  for (const reason of reasons) {
    if (!/cannot be stored|drain/.test(reason)) found.push({ kind: 'warn', title: 'The server is not ready', text: sentence(reason) })
  }
  if (queues.slow > 0) {
    found.push({ kind: 'info', title: counted(queues.slow, 'slow reader'), text: `${bytes(queues.bytes)} wait for connections that do not take what is sent. They are brought up to date when they do.` })
  }
  return found
}
