// Whether what was written here is stored: y-sweet's sync-status (102). The client sends a number behind its changes, and
// the server returns it when all that came before it is on disk.
//
// Bound here: "stored" is said only when the number of the latest change has come back over the connection that is up.

import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import type { WebsocketProvider } from 'y-websocket'

const SYNC_STATUS = 102

/** How long the store may take until it counts as away, in milliseconds. */
const PATIENCE = 4000

export type Kept = 'unknown' | 'saving' | 'late' | 'stored'

export class Receipts {
  private latest = 1
  private stored = 0
  private asking = 0
  private timer: ReturnType<typeof setTimeout> | undefined
  private due = false
  private known = false
  private late = false

  constructor (private readonly provider: WebsocketProvider, private readonly changed: (kept: Kept) => void) {
    provider.messageHandlers[SYNC_STATUS] = (_encoder, decoder) => this.receive(decoding.readVarUint8Array(decoder))
    provider.on('sync', (synced: boolean) => {
      if (synced) this.begin()
    })
    provider.on('connection-close', () => this.end())
    provider.doc.on('update', (_update: Uint8Array, origin: unknown) => {
      if (origin !== provider) this.note()
    })
  }

  /** What is known of the work done here. */
  get kept (): Kept {
    if (this.stored >= this.latest) return 'stored'
    return !this.known ? 'unknown' : this.late ? 'late' : 'saving'
  }

  /** The server has turned a change away since it cannot store it. */
  refused (): void {
    this.late = true
    this.changed(this.kept)
  }

  /** A change was made here. */
  private note (): void {
    this.latest++
    this.changed(this.kept)
    if (this.due) return
    // Behind the change, which the provider sends in this same moment, and behind all others of it.
    this.due = true
    queueMicrotask(() => {
      this.due = false
      if (this.provider.synced && this.asking === 0) this.ask()
    })
  }

  /** There is a connection over which all that was written here has been sent. */
  private begin (): void {
    this.stored = 0
    this.ask()
  }

  private end (): void {
    clearTimeout(this.timer)
    this.asking = 0
    this.known = this.late = false
    this.stored = 0
  }

  private ask (): void {
    const { ws } = this.provider
    if (ws === null || ws.readyState !== WebSocket.OPEN) return
    this.asking = this.latest
    const number = encoding.encode(encoder => encoding.writeVarUint(encoder, this.asking))
    ws.send(encoding.encode(encoder => {
      encoding.writeVarUint(encoder, SYNC_STATUS)
      encoding.writeVarUint8Array(encoder, number)
    }) as Uint8Array<ArrayBuffer>)
    clearTimeout(this.timer)
    this.timer = setTimeout(() => {
      this.known = this.late = true
      this.changed(this.kept)
    }, PATIENCE)
  }

  private receive (payload: Uint8Array): void {
    clearTimeout(this.timer)
    this.stored = decoding.readVarUint(decoding.createDecoder(payload))
    this.asking = 0
    this.known = true
    this.late = false
    if (this.stored < this.latest) this.ask()
    this.changed(this.kept)
  }
}
