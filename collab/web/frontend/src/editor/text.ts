// The editor: CodeMirror on the document's text, with the others' cursors, an undo of one's own, and Markdown shown as such.

import { defaultKeymap } from '@codemirror/commands'
import { defineLanguageFacet, HighlightStyle, Language, syntaxHighlighting } from '@codemirror/language'
import { Compartment, EditorState, type Extension } from '@codemirror/state'
import { EditorView, keymap, placeholder } from '@codemirror/view'
import { tags } from '@lezer/highlight'
import { parser, Strikethrough, Table, TaskList } from '@lezer/markdown'
import { yCollab, yUndoManagerKeymap } from 'y-codemirror.next'
import type { Awareness } from 'y-protocols/awareness'
import type * as Y from 'yjs'
import { cursors } from './cursors'

const markdown = new Language(defineLanguageFacet(), parser.configure([Strikethrough, Table, TaskList]))

const look = HighlightStyle.define([
  { tag: tags.heading1, class: 'md-h1' },
  { tag: tags.heading2, class: 'md-h2' },
  { tag: [tags.heading3, tags.heading4, tags.heading5, tags.heading6], class: 'md-h3' },
  { tag: tags.strong, class: 'md-strong' },
  { tag: tags.emphasis, class: 'md-em' },
  { tag: tags.strikethrough, class: 'md-del' },
  { tag: tags.monospace, class: 'md-code' },
  { tag: [tags.link, tags.url], class: 'md-link' },
  { tag: tags.quote, class: 'md-quote' },
  { tag: [tags.processingInstruction, tags.contentSeparator], class: 'md-mark' }
])

/** The editor of one document. */
export class TextEditor {
  readonly view: EditorView
  private readonly rights = new Compartment()

  constructor (
    parent: HTMLElement, text: Y.Text, awareness: Awareness, private readonly undoManager: Y.UndoManager, mayWrite: boolean
  ) {
    const nonce = document.querySelector<HTMLMetaElement>('meta[name=csp-nonce]')?.nonce ?? ''
    this.view = new EditorView({
      parent,
      state: EditorState.create({
        doc: text.toString(),
        extensions: [
          EditorView.cspNonce.of(nonce),
          // The text's own idea of a line: with CodeMirror's, a carriage return would move everything behind it.
          EditorState.lineSeparator.of('\n'),
          EditorView.clipboardInputFilter.of(pasted => pasted.replace(/\r\n?/g, '\n')),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({
            'aria-label': 'Text of the document', spellcheck: 'true', autocapitalize: 'sentences', autocorrect: 'on'
          }),
          keymap.of([...yUndoManagerKeymap, ...defaultKeymap]),
          markdown,
          syntaxHighlighting(look),
          yCollab(text, null, { undoManager }),
          cursors(text, awareness),
          this.rights.of(readOnly(!mayWrite))
        ]
      })
    })
  }

  /** Let it be written in, or only read. */
  set mayWrite (may: boolean) {
    // Undoing would change a text that may only be read.
    if (!may) this.undoManager.clear()
    this.view.dispatch({ effects: this.rights.reconfigure(readOnly(!may)) })
  }

  focus (): void {
    this.view.focus()
  }

  undo (): void {
    this.undoManager.undo()
  }

  redo (): void {
    this.undoManager.redo()
  }
}

const readOnly = (only: boolean): Extension => [
  EditorState.readOnly.of(only),
  // Still one that takes the focus, so that it can be read and scrolled with the keys.
  EditorView.contentAttributes.of({ 'aria-readonly': String(only) }),
  placeholder(only ? 'Nothing has been written here yet.' : 'Write here. Whoever has the link writes along.')
]

