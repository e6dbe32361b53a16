// The connection of one document: y-websocket's provider, what the server says beside the document, and why it ended.
//
// Bound here: whoever the server has sent away does not come back by themselves (4401, 4403), nor does a client that the
// server takes for broken; everything else comes back, and no faster than y-websocket's own pauses.

import * as decoding from 'lib0/decoding'
import { ObservableV2 } from 'lib0/observable'
import { WebsocketProvider } from 'y-websocket'
import type * as Y from 'yjs'

const AUTH = 2
const EVENT = 103

/** Milliseconds until a document that cannot be opened now is asked for again. */
const LATER = 15000

/** Close codes at which there is no use in coming back by oneself. */
const FINAL = new Set([1002, 1003, 1007, 1008, 1009])

type Events = {
  /** It is up, or down: by a close code (1006: none came), and the server's words. */
  up: () => void
  down: (code: number, reason: string, stays: boolean) => void
  /** The server did not let it in, or does not answer: which of them, a browser does not say. */
  refused: () => void
  /** A change was not taken. */
  error: (code: string, message: string) => void
  /** The operator says something to everybody. */
  said: (text: string) => void
}

export class Link extends ObservableV2<Events> {
  readonly provider: WebsocketProvider
  private wasUp = false

  constructor (id: string, doc: Y.Doc) {
    super()
    const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/yjs`
    const provider = this.provider = new WebsocketProvider(url, encodeURIComponent(id), doc, {
      connect: false,
      // Another tab gets everything from the server, and then says it is stored only if it is.
      disableBc: true,
      maxBackoffTime: 8000,
      shouldReconnect: event => !this.isFinal(event.code)
    })
    provider.messageHandlers[AUTH] = (_encoder, decoder) => {
      decoding.readVarUint(decoder)
      const [code = '', message = ''] = split(decoding.readVarString(decoder))
      this.emit('error', [code, message])
    }
    provider.messageHandlers[EVENT] = (_encoder, decoder) => this.hear(decoding.readVarString(decoder))
    provider.on('status', ({ status }: { status: string }) => {
      if (status === 'connected') this.wasUp = true
    })
    provider.on('sync', (synced: boolean) => {
      if (synced) this.emit('up', [])
    })
    provider.on('connection-close', event => this.close(event))
  }

  /** Who connects from now on. */
  set credentials (params: Record<string, string>) {
    this.provider.params = { ...params, events: '1' }
  }

  connect (): void {
    this.provider.connect()
  }

  disconnect (): void {
    this.provider.disconnect()
  }

  private isFinal (code: number): boolean {
    return (code >= 4400 && code < 4500) || FINAL.has(code) || isLater(code)
  }

  private close (event: CloseEvent | null): void {
    const { wasUp } = this
    this.wasUp = false
    const code = event?.code ?? 1006
    if (!wasUp) {
      this.emit('refused', [])
      return
    }
    if (isLater(code)) setTimeout(() => this.connect(), LATER * (1 + Math.random()))
    this.emit('down', [code, event?.reason ?? '', this.isFinal(code) && !isLater(code)])
  }

  private hear (text: string): void {
    const said: unknown = JSON.parse(text)
    if (typeof said === 'object' && said !== null && 'type' in said && said.type === 'say' && 'text' in said) {
      this.emit('said', [String(said.text)])
    }
  }
}

/** Whether a close code means that the document cannot be opened now: in quarantine, or the store is away. */
const isLater = (code: number): boolean => code === 4510 || code === 1013

/** The code and the words of an error, as the server writes them: `read_only: You may …`. */
const split = (reason: string): string[] => {
  const at = reason.indexOf(': ')
  return at < 0 ? ['', reason] : [reason.slice(0, at), reason.slice(at + 2)]
}
