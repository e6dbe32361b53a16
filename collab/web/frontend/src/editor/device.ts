// What this device keeps of a document, by itself: for work without a connection, and for one that is lost.
//
// Bound here: "kept" is said only when the browser has written the latest change.

import { IndexeddbPersistence } from 'y-indexeddb'
import type * as Y from 'yjs'

/** Milliseconds that this device may take to open what it has kept. */
const TIMEOUT = 3000

const STORE = 'updates'

export class Device {
  private latest = 0
  private written = 0
  private database: IDBDatabase | null = null
  private persistence: IndexeddbPersistence | null = null

  private constructor (private readonly changed: () => void) {}

  /** Open what this device has of a document, and keep what becomes of it; `changed` is called when `keeps` has. */
  static async open (id: string, doc: Y.Doc, changed: () => void): Promise<Device> {
    const device = new Device(changed)
    // A browser may keep nothing, as in a private window; y-indexeddb would wait for it for good.
    if (!(await canKeep())) return device
    const persistence = new IndexeddbPersistence(`collab ${id}`, doc)
    await Promise.race([persistence.whenSynced, new Promise(resolve => setTimeout(resolve, TIMEOUT))])
    device.persistence = persistence
    if (persistence.synced) device.database = persistence.db
    doc.on('update', (_update: Uint8Array, origin: unknown) => {
      if (origin !== persistence) device.note()
    })
    return device
  }

  /** Whether this device has all that is in the document. */
  get keeps (): boolean {
    return this.database !== null && this.written === this.latest
  }

  /** Keep nothing of the document any more, and drop what there is. */
  async forget (): Promise<void> {
    this.database = null
    await this.persistence?.clearData()
  }

  /** Something has changed, which y-indexeddb writes in this moment: what is read after that has it. */
  private note (): void {
    const number = ++this.latest
    const { database } = this
    if (database === null) return
    queueMicrotask(() => {
      if (number !== this.latest) return
      database.transaction(STORE, 'readonly').oncomplete = () => {
        this.written = number
        if (number === this.latest) this.changed()
      }
    })
  }
}

const canKeep = (): Promise<boolean> => new Promise(resolve => {
  try {
    const request = indexedDB.open('collab')
    request.onerror = () => resolve(false)
    request.onsuccess = () => {
      request.result.close()
      resolve(true)
    }
  } catch {
    resolve(false)
  }
})
