// node typists.mjs SEED: clients that type all the time and come back whatever happens, for the tests that take their
// server away. Each line of stdin is a command of `commands` below, as JSON; each line of stdout is an answer to one,
// or says what happened: who is connected, and up to which of its edits a client was told that they are stored.
//
// Each edit inserts `<name>:<n>;` into the text, n counting from 1, at a border between two of these; and puts it in
// the place of the one before in the array `draft`. So it shows which edits a copy has, and whether it has them whole.

import { changed, kit, until } from './clients.mjs'
import { random } from './edits.mjs'
import assert from 'node:assert/strict'
import { createInterface } from 'node:readline'
import { isDeepStrictEqual } from 'node:util'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import WebSocket from 'ws'
import * as syncProtocol from 'y-protocols/sync'
import * as Y from 'yjs'

const below = random(Number(process.argv[2]))
const clients = new Map()
let typing = false

const tell = event => console.log(JSON.stringify(event))

/** What y-websocket does with a refusal is to log it. */
const warn = console.warn
console.warn = (...words) => {
  const denied = /^Permission denied to access .*[?&]user_id=(\w+).*\n(.*)/.exec(words.join(' '))
  if (denied === null) warn(...words)
  else tell({ refused: denied[1], why: denied[2] })
}

/** Send a message made of a code and what `write` writes; false if the socket is not open. */
const send = (socket, code, write) => {
  if (socket?.readyState !== WebSocket.OPEN) return false
  const encoder = encoding.createEncoder()
  encoding.writeVarUint(encoder, code)
  write(encoder)
  socket.send(encoding.toUint8Array(encoder))
  return true
}

/**
 * What all of them have in common: a document, and that they type into it. Calm ones type about once a second, and take
 * as long to come back as their provider does by itself.
 */
class Typist {
  constructor ({ name, room, base, mute = false, calm = false }) {
    Object.assign(this, { name, room, base, mute, calm, typed: 0, acked: 0, up: false })
    this.doc = new Y.Doc()
    this.text = this.doc.getText('text')
    this.draft = this.doc.getArray('draft')
    this.doc.on('update', changed)
    clients.set(name, this)
    if (typing) this.type()
  }

  type () {
    clearTimeout(this.timer)
    if (!typing || this.mute) return
    this.timer = setTimeout(() => {
      this.edit()
      this.type()
    }, this.calm ? 500 + below(1000) : 5 + below(30))
  }

  edit () {
    this.doc.transact(() => {
      const content = this.text.toString()
      const at = below(content.length + 1)
      const before = this.draft.toArray().indexOf(`${this.name}:${this.typed}`)
      this.typed++
      this.text.insert(at === 0 ? 0 : content.indexOf(';', at - 1) + 1, `${this.name}:${this.typed};`)
      if (before >= 0) this.draft.delete(before)
      this.draft.insert(below(this.draft.length + 1), [`${this.name}:${this.typed}`])
    })
    if (this.calm || !below(3)) this.ask()
  }

  /** Ask whether all is stored, where that is not told unasked. */
  ask () {}

  /** The server says that all edits up to this one are stored. */
  stored (edit) {
    if (edit <= this.acked) return
    this.acked = edit
    tell({ acked: this.name, edit })
  }

  connected (facts = {}) {
    this.up = true
    tell({ up: this.name, ...facts })
    changed()
  }

  disconnected (code) {
    tell({ down: this.name, code })
    this.up = false
    changed()
  }

  copy () {
    return {
      text: this.text.toString(),
      draft: this.draft.toArray(),
      vector: Object.fromEntries(Y.decodeStateVector(Y.encodeStateVector(this.doc)))
    }
  }
}

const status = 102

/** A y-websocket provider as it is, beside which y-sweet's sync-status is asked for on the same socket. */
class Provided extends Typist {
  constructor ({ WebsocketProvider }, options) {
    super(options)
    this.answered = null // the socket on which the server was sent what had been typed before
    this.provider = new WebsocketProvider(new URL('/yjs', this.base).href, this.room, this.doc, {
      WebSocketPolyfill: WebSocket,
      disableBc: true,
      params: { user_id: this.name },
      ...(this.calm ? {} : { maxBackoffTime: 200 })
    })
    this.provider.on('status', ({ status }) => status === 'connected' && this.connected())
    this.provider.on('connection-close', event => this.disconnected(event?.code))
    this.provider.on('sync', synced => synced && tell({ synced: this.name }))
    const [sync] = this.provider.messageHandlers
    this.provider.messageHandlers[0] = (encoder, decoder, ...words) => {
      const step = decoding.peekVarUint(decoder)
      sync(encoder, decoder, ...words)
      if (step === syncProtocol.messageYjsSyncStep1) setImmediate(() => this.#caughtUp(this.provider.ws))
    }
    this.provider.messageHandlers[status] = (_, decoder) => {
      this.stored(decoding.readVarUint(decoding.createDecoder(decoding.readVarUint8Array(decoder))))
    }
  }

  #caughtUp (socket) {
    this.answered = socket
    this.ask()
  }

  ask () {
    const { ws } = this.provider
    if (ws === null || ws !== this.answered) return
    const payload = encoding.encode(encoder => encoding.writeVarUint(encoder, this.typed))
    send(ws, status, encoder => encoding.writeVarUint8Array(encoder, payload))
  }

  cut () { this.provider.ws.terminate() }
}

/** A provider of Hocuspocus as it is, on a connection of its own. */
class Hocuspocus extends Typist {
  constructor ({ HocuspocusProvider, HocuspocusProviderWebsocket }, options) {
    super(options)
    const url = new URL(`/hocuspocus?user_id=${this.name}`, this.base).href
    this.socket = new HocuspocusProviderWebsocket({ url, WebSocketPolyfill: WebSocket })
    this.socket.on('close', ({ event }) => this.disconnected(event.code))
    this.provider = new HocuspocusProvider({
      websocketProvider: this.socket,
      name: this.room,
      document: this.doc,
      broadcast: false
    })
    this.provider.on('synced', ({ state }) => state && this.connected())
    for (const event of ['synced', 'unsyncedChanges']) this.provider.on(event, () => this.ask())
    this.provider.attach?.()
  }

  ask () {
    if (this.up && this.provider.synced && this.provider.unsyncedChanges === 0) this.stored(this.typed)
  }

  cut () { this.socket.webSocket.terminate() }
}

const sync = 0
const syncUpdate = 1
const ack = 4

/** A client of the native protocol (protocols.md §1) that goes on with its session when it comes back. */
class Native extends Typist {
  constructor (options) {
    super(options)
    this.session = null
    this.doc.on('update', (update, origin) => {
      if (origin !== this && this.ready) this.#send(syncUpdate, encoder => encoding.writeVarUint8Array(encoder, update))
    })
    this.#connect()
  }

  #connect () {
    const url = new URL(`/ws/document/${this.room}`, this.base)
    url.searchParams.set('user_id', this.name)
    if (this.session !== null) url.searchParams.set('session_id', this.session.id)
    this.socket = new WebSocket(url)
    this.ready = false
    this.socket.on('message', (data, binary) => {
      if (binary) this.#binary(new Uint8Array(data))
      else this.#event(JSON.parse(data.toString()))
    })
    this.socket.on('error', () => {}) // and then it closes
    this.socket.on('close', code => {
      this.ready = false
      this.disconnected(code)
      setTimeout(() => this.#connect(), 50 + below(100))
    })
  }

  /** Send an update. They are numbered, and each number stands for all that had been typed by then. */
  #send (code, write) {
    if (send(this.socket, code, write)) this.reach.set(++this.number, this.typed)
  }

  #event (message) {
    if (message.type === 'initial_state' && !this.ready) this.#welcome(message)
    if (message.type !== 'error') return
    this.reach.delete(message.update)
    tell({ refused: this.name, why: `${message.code}: ${message.message}` })
  }

  #welcome ({ session, epoch }) {
    const resumed = session.updates !== undefined
    assert(!resumed || session.id === this.session.id, 'a session that goes on keeps its id')
    this.number = session.updates ?? 0
    const kept = resumed ? [...this.reach].filter(([number]) => number <= this.number) : []
    this.reach = new Map(kept)
    this.session = session
    this.ready = true
    this.connected({ resumed, epoch })
    send(this.socket, sync, encoder => syncProtocol.writeSyncStep1(encoder, this.doc))
  }

  #binary (bytes) {
    const decoder = decoding.createDecoder(bytes)
    const type = decoding.readVarUint(decoder)
    if (type === sync) this.#sync(decoder)
    else if (type === syncUpdate) Y.applyUpdate(this.doc, decoding.readVarUint8Array(decoder), this)
    else if (type === ack) this.#ack(decoding.readVarUint(decoder))
  }

  #sync (decoder) {
    const encoder = encoding.createEncoder()
    const step = syncProtocol.readSyncMessage(decoder, encoder, this.doc, this)
    if (step === syncProtocol.messageYjsSyncStep1) {
      this.#send(sync, message => encoding.writeUint8Array(message, encoding.toUint8Array(encoder)))
    }
    if (step === syncProtocol.messageYjsSyncStep2) tell({ synced: this.name })
  }

  #ack (upTo) {
    assert(upTo <= this.number, `${this.name} has sent ${this.number} updates, and ${upTo} are acknowledged`)
    for (const [number, edit] of this.reach) {
      if (number > upTo) break
      this.reach.delete(number)
      this.stored(edit)
    }
  }

  cut () { this.socket.terminate() }
}

const inRoom = room => [...clients.values()].filter(client => client.room === room)
const rooms = () => [...new Set([...clients.values()].map(({ room }) => room))]
const describe = () => [...clients.values()].map(({ name, up, typed, acked, text }) =>
  `  ${name} is ${up ? 'connected' : 'away'}, has typed ${typed}, of which ${acked} are stored; ${text.length} long`).join('\n')

/** Whether all hold the same, deletions included. */
const alike = ([first, ...others]) => others.every(other => isDeepStrictEqual(first.copy(), other.copy()) &&
  Y.equalSnapshots(Y.snapshot(first.doc), Y.snapshot(other.doc)))

const commands = {
  /** A client that types as long as all do; `kind` is native, a version or Hocuspocus'. A mute one only reads. */
  async join ({ kind, ...options }) {
    if (kind === 'native') new Native(options) // eslint-disable-line no-new
    else if (kind.startsWith('hocuspocus')) new Hocuspocus(await import(kind), options) // eslint-disable-line no-new
    else new Provided(await kit(kind), options) // eslint-disable-line no-new
  },

  /** Everybody types, or pauses. */
  type ({ on }) {
    typing = on
    for (const client of clients.values()) {
      client.type()
      if (!on) client.ask()
    }
  },

  /** A client loses its connection. */
  cut ({ name }) { clients.get(name).cut() },

  /** How many edits each has made. */
  typed: () => Object.fromEntries([...clients.values()].map(({ name, typed }) => [name, typed])),

  /** Up to which edit of each any other client has heard of it, which is through the server. */
  heard () {
    const heard = {}
    for (const client of clients.values()) {
      for (const [, name, edit] of client.text.toString().matchAll(/(\w+):(\d+);/g)) {
        if (name !== client.name) heard[name] = Math.max(heard[name] ?? 0, Number(edit))
      }
    }
    return heard
  },

  /** Wait until everybody has got what everybody else in the room types from here on. */
  async more () {
    const next = new Map([...clients.values()].filter(({ mute }) => !mute)
      .map(({ name, typed }) => [name, `${name}:${typed + 1};`]))
    const has = (reader, writer) => reader === writer || !next.has(writer.name) ||
      reader.text.toString().includes(next.get(writer.name))
    await until('everybody hears of everybody', () => rooms().every(
      room => inRoom(room).every(reader => inRoom(room).every(writer => has(reader, writer)))), describe)
  },

  /** Wait until all in each room hold the same, and say what. */
  async converge () {
    await until('all hold the same', () => rooms().every(room => alike(inRoom(room))), describe)
    return Object.fromEntries(rooms().map(room => [room, inRoom(room)[0].copy()]))
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, command, ...words } = JSON.parse(line)
  tell({ id, answer: await commands[command](words) ?? null })
}
process.exit()
