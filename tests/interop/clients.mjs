// The clients of the scenarios: unmodified y-websocket providers of each version, a native client made of a plain
// WebSocket, and `until`, which waits for facts rather than for time.

import { complaints } from './complaints.mjs'
import { EventEmitter, once } from 'node:events'
import assert from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import WebSocket from 'ws'
import * as syncProtocol from 'y-protocols/sync'
import * as Y13 from 'yjs'

export const versions = {
  'y-websocket-1': '1.5.4',
  'y-websocket-2': '2.1.0',
  'y-websocket-3': '3.0.0',
  'y-websocket-31': '3.1.0',
  'y-websocket-3rc': '3.1.0-rc.5',
  '@y/websocket': '4.0.0-3'
}

process.setMaxListeners(0) // each provider listens for the exit

const patience = 10_000
const changes = new EventEmitter().setMaxListeners(0)
const opened = []

/** Say that something may have changed: everybody who waits looks again. */
export const changed = () => changes.emit('change')

/** Wait until `holds()` returns something true, and return it. Time only ever makes it fail. */
export const until = (what, holds, describe = () => '') => new Promise((resolve, reject) => {
  let queued = false
  const finish = () => {
    clearTimeout(timer)
    changes.off('change', queue)
  }
  const look = () => {
    queued = false
    try {
      assert.deepEqual(complaints, [], `there was trouble until ${what}`)
      const value = holds()
      if (!value) return
      finish()
      resolve(value)
    } catch (error) {
      finish()
      reject(error)
    }
  }
  const queue = () => {
    if (queued) return
    queued = true
    setImmediate(look)
  }
  const timer = setTimeout(() => {
    finish()
    reject(new Error(`waited ${patience} ms in vain until ${what}\n${describe()}`))
  }, patience)
  changes.on('change', queue)
  look()
})

const plain = value => JSON.parse(JSON.stringify(value))

/** A delta whose neighbours of equal format are one: yjs 13 leaves them apart where a format mark says nothing new. */
const merged = delta => delta.reduce((runs, run) => {
  const last = runs.at(-1)
  if (last === undefined || !isDeepStrictEqual(last.attributes, run.attributes)) return [...runs, run]
  return [...runs.slice(0, -1), { ...last, insert: last.insert + run.insert }]
}, [])

/** How documents are edited and read with yjs 13, whose root types have a type. */
export const yjs13 = Y => ({
  Y,
  insertText: (doc, index, text, format) => doc.getText('text').insert(index, text, format),
  formatText: (doc, index, length, format) => doc.getText('text').format(index, length, format),
  deleteText: (doc, index, length) => doc.getText('text').delete(index, length),
  mapSet: (doc, key, value) => doc.getMap('map').set(key, value),
  mapDelete: (doc, key) => doc.getMap('map').delete(key),
  mapNest: (doc, key, entries) => doc.getMap('map').set(key, new Y.Map(Object.entries(entries))),
  arrayInsert: (doc, index, values) => doc.getArray('array').insert(index, values),
  arrayDelete: (doc, index, length) => doc.getArray('array').delete(index, length),
  arrayLength: doc => doc.getArray('array').length,
  elementInsert: (doc, index, tag, attributes, text, format) => {
    const element = new Y.XmlElement(tag)
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
    const child = new Y.XmlText(text)
    element.insert(0, [child])
    doc.getXmlFragment('xml').insert(index, [element])
    child.format(0, 2, format)
  },
  elementDelete: (doc, index) => doc.getXmlFragment('xml').delete(index, 1),
  text: doc => doc.getText('text').toString(),
  read: doc => plain({
    text: merged(plain(doc.getText('text').toDelta())),
    map: doc.getMap('map').toJSON(),
    array: doc.getArray('array').toJSON(),
    xml: doc.getXmlFragment('xml').toString()
  })
})

const unwrapped = value => {
  if (value === null || typeof value !== 'object' || !('attrs' in value)) return value
  return Object.fromEntries(Object.entries(value.attrs).map(([key, child]) => [key, unwrapped(child)]))
}

/** The same with yjs 14, in which one type is text, list, map and element at once; the bytes are those of yjs 13. */
const yjs14 = Y => ({
  Y,
  insertText: (doc, index, text, format) => doc.get('text').insert(index, text, format),
  formatText: (doc, index, length, format) => doc.get('text').format(index, length, format),
  deleteText: (doc, index, length) => doc.get('text').delete(index, length),
  mapSet: (doc, key, value) => doc.get('map').setAttr(key, value),
  mapDelete: (doc, key) => doc.get('map').deleteAttr(key),
  mapNest: (doc, key, entries) => {
    const nested = new Y.Type()
    doc.get('map').setAttr(key, nested)
    for (const [name, value] of Object.entries(entries)) nested.setAttr(name, value)
  },
  arrayInsert: (doc, index, values) => doc.get('array').insert(index, values),
  arrayDelete: (doc, index, length) => doc.get('array').delete(index, length),
  arrayLength: doc => doc.get('array').length,
  elementInsert: (doc, index, tag, attributes, text, format) => {
    const element = new Y.Type(tag)
    for (const [name, value] of Object.entries(attributes)) element.setAttr(name, value)
    doc.get('xml').insert(index, [element])
    element.insert(0, text)
    element.format(0, 2, format)
  },
  elementDelete: (doc, index) => doc.get('xml').delete(index, 1),
  text: doc => doc.get('text').toString(),
  read: doc => plain({
    text: merged((plain(doc.get('text').toDelta()).children ?? []).map(
      ({ insert, format }) => format === undefined ? { insert } : { insert, attributes: format })),
    map: unwrapped({ attrs: doc.get('map').toJSON().attrs ?? {} }),
    array: doc.get('array').toArray(),
    xml: plain(doc.get('xml').toDeltaDeep())
  })
})

const kits = new Map()

/** Load a version of the provider together with the yjs it works on. */
export const kit = async version => {
  assert(version in versions, `unknown version ${version}; there are ${Object.keys(versions).join(', ')}`)
  if (!kits.has(version)) {
    const { WebsocketProvider } = await import(version)
    const edits = version === '@y/websocket' ? yjs14(await import('@y/y')) : yjs13(Y13)
    kits.set(version, { version, WebsocketProvider, edits })
  }
  return kits.get(version)
}

/** A client with a document. Its editing methods are those of the tables above, without the document. */
export class Client {
  constructor (edits) {
    this.Y = edits.Y
    this.doc = new edits.Y.Doc()
    for (const [name, edit] of Object.entries(edits)) {
      if (typeof edit === 'function') this[name] = (...words) => edit(this.doc, ...words)
    }
    this.doc.on('update', changed)
    opened.push(this)
  }

  get id () { return this.doc.clientID }
  get awareness () { return this.provider.awareness }

  /** Another client's awareness state, as this one sees it. */
  sees (other) {
    return this.awareness.getStates().get(typeof other === 'number' ? other : other.id)
  }

  vector () {
    return Object.fromEntries(this.Y.decodeStateVector(this.Y.encodeStateVector(this.doc)))
  }

  same (other, parts = ['text', 'map', 'array', 'xml']) {
    if (!isDeepStrictEqual(this.vector(), other.vector())) return false
    const [mine, theirs] = [this.read(), other.read()]
    if (!parts.every(part => isDeepStrictEqual(mine[part], theirs[part]))) return false
    return this.Y !== other.Y || this.Y.equalSnapshots(this.Y.snapshot(this.doc), this.Y.snapshot(other.doc))
  }
}

/** A document with a y-websocket provider. */
export class YClient extends Client {
  constructor ({ version, WebsocketProvider, edits }, base, room, options = {}) {
    super(edits)
    this.version = version
    this.statuses = []
    this.provider = new WebsocketProvider(base, room, this.doc, {
      WebSocketPolyfill: WebSocket, disableBc: true, connect: false, ...options
    })
    this.provider.on('status', ({ status }) => {
      this.statuses.push(status)
      changed()
    })
    this.closes = []
    this.provider.on('connection-close', event => {
      this.closes.push(`${event?.code ?? 'own'} ${event?.reason ?? ''}`.trim())
      changed()
    })
    for (const name of ['sync', 'sync-status']) this.provider.on(name, changed)
    // No scenario expects a refusal, and the providers would go on trying.
    this.provider.on('connection-error', event => console.error(`no connection to ${base}: ${event.message}`))
    this.awareness.on('update', changed)
    if (options.connect !== false) this.provider.connect()
  }

  static async open (version, base, room, options) {
    const client = new YClient(await kit(version), base, room, options)
    await client.synced()
    return client
  }

  synced () {
    return until(`${this.version} is synced`, () => this.provider.synced, () => this.describe())
  }

  describe () {
    const content = JSON.stringify(this.read())
    const shown = content.length > 2_000 ? `${content.slice(0, 2_000)}…` : content
    const closes = `closed ${this.closes.length} times (${this.closes.slice(0, 3).join(', ')})`
    return `  ${this.version} client ${this.id}: ${this.statuses.slice(0, 9).join(' ')}, ${closes}, ` +
      `vector ${JSON.stringify(this.vector())}\n    ${shown}`
  }

  close () {
    this.provider.destroy()
    this.awareness.destroy()
    this.doc.destroy()
  }
}

/** Wait until all clients hold the same content, state vector and deletions. */
export const converged = (clients, parts) => until(
  `${clients.length} clients converge`,
  () => clients.every(client => client.same(clients[0], parts)),
  () => clients.map(client => client.describe()).join('\n')
)

const sync = 0
const syncUpdate = 1
const awareness = 2
const ack = 4
const error = 99

/** A client of the native protocol (protocols.md §1): JSON in text frames, a type byte and lib0 in binary ones. */
export class NativeClient extends Client {
  constructor (base, room, user) {
    super(yjs13(Y13))
    const url = new URL(`/ws/document/${encodeURIComponent(room)}`, base)
    url.searchParams.set('user_id', user.id)
    url.searchParams.set('user_name', user.name)
    if (user.token) url.searchParams.set('token', user.token)
    this.user = user
    this.messages = []
    this.states = new Map()
    this.acked = 0
    this.sent = 0
    this.close_code = null
    this.socket = new WebSocket(url)
    this.socket.on('message', (data, binary) => {
      if (binary) this.#binary(new Uint8Array(data))
      else this.#text(data.toString())
      changed()
    })
    this.socket.on('close', code => {
      this.close_code = code
      changed()
    })
    this.doc.on('update', (update, origin) => {
      if (origin !== this) this.#update(update)
    })
  }

  static async open (base, room, user) {
    const client = new NativeClient(base, room, user)
    await Promise.race([once(client.socket, 'open'), once(client.socket, 'error').then(([fault]) => { throw fault })])
    await client.received('initial_state')
    client.#send(sync, encoder => syncProtocol.writeSyncStep1(encoder, client.doc))
    return client
  }

  /** Wait for a JSON message of this type for which `holds` is true. */
  received (type, holds = () => true) {
    return until(`${this.user.name} receives ${type}`,
      () => this.messages.find(message => message.type === type && holds(message)), () => this.describe())
  }

  say (message) { this.socket.send(JSON.stringify(message)) }

  describe () {
    return `  native ${this.user.name}, ${this.acked} of ${this.sent} acked, close code ${this.close_code}, text ` +
      `${JSON.stringify(this.text())}\n    ${this.messages.map(message => JSON.stringify(message)).join('\n    ')}`
  }

  close () { this.socket.close() }

  #send (type, write) {
    const encoder = encoding.createEncoder()
    encoding.writeVarUint(encoder, type)
    write(encoder)
    this.socket.send(encoding.toUint8Array(encoder))
  }

  #update (update) {
    this.sent++
    this.#send(syncUpdate, encoder => encoding.writeVarUint8Array(encoder, update))
  }

  #text (text) {
    const message = JSON.parse(text)
    assert.equal(typeof message.type, 'string', `a text frame without a type: ${text}`)
    this.messages.push(message)
    if (message.type === 'awareness') {
      for (const [id, state] of Object.entries(message.awareness)) this.#state(Number(id), state)
    }
  }

  #state (id, state) {
    if (state === null) this.states.delete(id)
    else this.states.set(id, state)
  }

  #binary (bytes) {
    const decoder = decoding.createDecoder(bytes)
    const type = decoding.readVarUint(decoder)
    if (type === sync) this.#sync(decoder)
    else if (type === syncUpdate) Y13.applyUpdate(this.doc, decoding.readVarUint8Array(decoder), this)
    else if (type === awareness) decoding.readVarUint8Array(decoder)
    else if (type === ack) this.acked = decoding.readVarUint(decoder)
    else assert.notEqual(type, error, `error: ${decoding.readVarString(decoder)}`)
    assert(!decoding.hasContent(decoder), `bytes after the end of a message of type ${type}`)
  }

  #sync (decoder) {
    const encoder = encoding.createEncoder()
    encoding.writeVarUint(encoder, sync)
    syncProtocol.readSyncMessage(decoder, encoder, this.doc, this)
    if (encoding.length(encoder) === 1) return
    this.sent++
    this.socket.send(encoding.toUint8Array(encoder))
  }
}

/** Run a script to its end: exit 0 and `ok`, or 1 and what was wrong. */
export const run = async (name, script) => {
  const start = performance.now()
  try {
    await script()
    assert.deepEqual(complaints, [], 'the clients complained')
    console.log(`ok ${name} (${Math.round(performance.now() - start)} ms)`)
  } catch (fault) {
    console.log(`FAILED ${name}: ${fault.stack}`)
    process.exitCode = 1
  } finally {
    for (const client of opened) client.close()
    process.exit()
  }
}
