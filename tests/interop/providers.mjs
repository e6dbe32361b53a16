// Clients made of unmodified providers of Hocuspocus, of each version.

import { changed, Client, until, yjs13 } from './clients.mjs'
import * as decoding from 'lib0/decoding'
import WebSocket from 'ws'
import * as Y13 from 'yjs'

export const providers = { 2: '2.15.3', 3: '3.4.4', 4: '4.8.0' }

const syncStatus = 8

/** A connection, which any number of providers can use. Its `closes` are the codes with which it has ended. */
export const connect = async (version, url, options = {}) => {
  const { HocuspocusProviderWebsocket } = await import(`hocuspocus-${version}`)
  const socket = new HocuspocusProviderWebsocket({ url, WebSocketPolyfill: WebSocket, ...options })
  socket.version = version
  socket.closes = []
  socket.on('close', ({ event }) => {
    socket.closes.push(event.code)
    changed()
  })
  socket.on('status', changed)
  return socket
}

/** A document with a provider on a connection; `refused` is how many of its changes were said not to be taken. */
export class HClient extends Client {
  constructor (HocuspocusProvider, socket, name, options) {
    super(yjs13(Y13))
    this.version = socket.version
    this.socket = socket
    this.failures = []
    this.scopes = []
    this.said = []
    this.refused = 0
    this.provider = new HocuspocusProvider({
      websocketProvider: socket,
      name,
      document: this.doc,
      broadcast: false, // which version 2 would do between the tabs of one browser, past the server
      onAuthenticated: () => {
        // Only version 3 and later tell it with the event, all of them note it.
        this.scopes.push(this.provider.authorizedScope)
        changed()
      },
      onAuthenticationFailed: ({ reason }) => {
        this.failures.push(reason)
        changed()
      },
      onStateless: ({ payload }) => {
        this.said.push(payload)
        changed()
      },
      onMessage: ({ event }) => this.#read(new Uint8Array(event.data)),
      ...options
    })
    for (const name of ['synced', 'unsyncedChanges', 'awarenessUpdate']) this.provider.on(name, changed)
    this.provider.attach?.() // version 2 does so itself
  }

  /** Open a document on a connection, or on one of its own. */
  static async begin (version, where, name, options = {}) {
    const { HocuspocusProvider } = await import(`hocuspocus-${version}`)
    const socket = typeof where === 'string' ? await connect(version, where) : where
    return new HClient(HocuspocusProvider, socket, name, options)
  }

  static async open (version, where, name, options) {
    const client = await HClient.begin(version, where, name, options)
    await client.settled()
    return client
  }

  #read (bytes) {
    const decoder = decoding.createDecoder(bytes)
    decoding.readVarString(decoder)
    if (decoding.readVarUint(decoder) === syncStatus && decoding.readVarUint(decoder) === 0) this.refused++
    changed()
  }

  get unsynced () { return this.provider.unsyncedChanges }

  /** Wait until it has what the server has, and the server has stored what it has. */
  settled () {
    return until(`provider ${this.version} has nothing unsynced`,
      () => this.provider.synced && this.unsynced === 0, () => this.describe())
  }

  /** Leave the document, and come back into it later, on the same connection. */
  leave () {
    if (this.version === '2') this.provider.destroy()
    else this.provider.detach()
  }

  describe () {
    return `  provider ${this.version} client ${this.id}: synced ${this.provider.synced}, unsynced ${this.unsynced}, ` +
      `refused ${this.refused}, scopes [${this.scopes}], failures [${this.failures}], ` +
      `closes [${this.socket.closes}], vector ${JSON.stringify(this.vector())}\n    ${JSON.stringify(this.read())}`
  }

  close () {
    this.provider.destroy()
    this.socket.destroy()
    this.doc.destroy()
  }
}
