// A page with Tiptap's editor: ?url=URL&room=ROOM&name=NAME&version=VERSION, the latter a key of `kits`. What it shows it
// tells `report`, which the test gives it, whenever that may have changed.

import { Editor } from '@tiptap/core'
import Collaboration from '@tiptap/extension-collaboration'
import CollaborationCaret from '@tiptap/extension-collaboration-caret'
import StarterKit from '@tiptap/starter-kit'
import * as hocuspocus2 from 'hocuspocus-2'
import * as hocuspocus3 from 'hocuspocus-3'
import * as hocuspocus4 from 'hocuspocus-4'
import * as Y from 'yjs'

const kits = { 2: hocuspocus2, 3: hocuspocus3, 4: hocuspocus4 }
const { url, room, name, version } = Object.fromEntries(new URLSearchParams(location.search))

const doc = new Y.Doc()
const provider = new kits[version].HocuspocusProvider({ url, name: room, document: doc, broadcast: false })
const editor = window.editor = new Editor({
  element: document.querySelector('#editor'),
  extensions: [
    // Yjs undoes by itself; and nobody adds an empty last paragraph, which all of them would at once.
    StarterKit.configure({ undoRedo: false, trailingNode: false }),
    Collaboration.configure({ document: doc }),
    CollaborationCaret.configure({ provider, user: { name, color: '#f783ac' } })
  ]
})

/** In which block the cursor is, and whether at its end. */
const cursor = () => {
  const { $head } = editor.state.selection
  return [$head.index(0), $head.parentOffset === $head.parent.content.size]
}

let due = false
const report = () => {
  if (due) return
  due = true
  setTimeout(() => {
    due = false
    window.report({
      html: editor.getHTML(),
      xml: doc.getXmlFragment('default').toString(),
      vector: Object.fromEntries(Y.decodeStateVector(Y.encodeStateVector(doc))),
      synced: provider.synced,
      unsynced: provider.unsyncedChanges,
      cursor: cursor(),
      carets: [...document.querySelectorAll('.collaboration-carets__label')].map(label => label.textContent).sort()
    })
  })
}
doc.on('update', report)
editor.on('transaction', report)
for (const event of ['synced', 'unsyncedChanges']) provider.on(event, report)
