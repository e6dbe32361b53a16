// node idle.mjs ws://127.0.0.1:PORT/yjs [SECONDS]: clients of all versions, alone in their rooms, which do nothing.
//
// A y-websocket client looks every 3 s whether a message has come within 30 s (45 s, looking each 4.5 s, in
// 3.1.0-rc.5), and reconnects when not; WebSocket pings do not count. An ordinary client renews its awareness each 15 s
// and lives when that comes back; one without awareness says nothing at all, and the server has to speak first.
// 65 s is past every limit. Only real time tells here: nothing of the clients is changed. A provider of Hocuspocus looks
// every 3 s whether a message has come within 30 s.
//
// Yjs clients also forget a presence that was not renewed for 30 s. A native client that sends JSON does not renew it,
// so the server has to: another client watches one. One more has nobody to hear of and nothing to say: of it only the
// server's pings are seen.

import { NativeClient, run, until, versions, YClient } from './clients.mjs'
import { connect, HClient, providers } from './providers.mjs'
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import WebSocket from 'ws'

const [base, seconds = '65'] = process.argv.slice(2)

const once = (provider, event) => new Promise(resolve => provider.on(event, resolve))

/** A WebSocket that tells when messages came, so that a failure shows how near to the limit the others were. */
const listening = arrivals => class extends WebSocket {
  constructor (...words) {
    super(...words)
    this.on('message', () => arrivals.push(performance.now()))
  }
}

const idle = async (version, silent) => {
  const arrivals = []
  const client = await YClient.open(version, base, randomUUID(), { WebSocketPolyfill: listening(arrivals) })
  if (silent) client.awareness.setLocalState(null)
  else client.awareness.setLocalStateField('user', { name: 'idle' })
  const lost = () => client.statuses.includes('disconnected')
  const name = `${versions[version]} ${silent ? 'silent' : 'ordinary'}`
  return { name, arrivals, lost, loss: once(client.provider, 'connection-close') }
}

/** The same with Hocuspocus: two documents on one connection. */
const idleProviders = async (version, silent) => {
  const arrivals = []
  const url = new URL('/hocuspocus', base).href
  const socket = await connect(version, url, { WebSocketPolyfill: listening(arrivals) })
  const options = silent ? { awareness: null } : {}
  await Promise.all([1, 2].map(() => HClient.open(version, socket, randomUUID(), options)))
  const lost = () => socket.closes.length > 0
  const name = `provider ${providers[version]} ${silent ? 'silent' : 'ordinary'}`
  return { name, arrivals, lost, loss: once(socket, 'close') }
}

/** A native client which said once where its cursor is, and the times at which a Yjs client saw it gone. */
const watch = async () => {
  const room = randomUUID()
  const watcher = await YClient.open('y-websocket-31', base, room)
  const native = await NativeClient.open(base, room, { id: 'bob', name: 'Bob' })
  native.say({ type: 'awareness', user: { id: 'bob', name: 'Bob' }, cursor: { line: 1, column: 2 } })
  const [id] = await until('the watcher sees bob', () => [...watcher.awareness.getStates()].find(
    ([, { user }]) => user?.name === 'Bob'))
  const gone = []
  watcher.awareness.on('change', ({ removed }) => removed.includes(id) && gone.push(Math.round(performance.now())))
  return { native, gone }
}

await run('idle', async () => {
  const { native, gone } = await watch()
  const hermit = await NativeClient.open(base, randomUUID(), { id: 'hermit', name: 'Hermit' })
  const all = await Promise.all([true, false].flatMap(silent => [
    ...Object.keys(versions).map(version => idle(version, silent)),
    ...Object.keys(providers).map(version => idleProviders(version, silent))
  ]))
  const closed = ({ socket }) => new Promise(resolve => socket.on('close', resolve))
  await Promise.race([sleep(Number(seconds) * 1000), closed(native), closed(hermit), ...all.map(({ loss }) => loss)])
  console.log(all.map(({ name, arrivals }) => {
    const gaps = arrivals.slice(1).map((time, index) => Math.round(time - arrivals[index]))
    return `${name}: at most ${Math.max(0, ...gaps)} ms without a message`
  }).join('\n'))
  assert.deepEqual(all.filter(({ lost }) => lost()).map(({ name }) => name), [], 'these had to reconnect')
  assert.deepEqual(gone, [], 'times at which the presence of a quiet native client was forgotten')
  assert.equal(native.close_code, null, 'the native client stays connected')
  assert.equal(hermit.close_code, null, 'the native client that hears of nobody stays connected')
})
