// Where the others are in the text: a caret with a name, and what they have selected, each in their colour.
//
// In place of y-codemirror's own, which writes colours as style attributes: the page's policy forbids these. Positions are
// shared in the same way (`cursor` with `anchor` and `head`), so that its users and ours see each other.

import { Annotation, type Extension, type Range } from '@codemirror/state'
import { Decoration, type DecorationSet, EditorView, type PluginValue, ViewPlugin, type ViewUpdate, WidgetType } from '@codemirror/view'
import type { Awareness } from 'y-protocols/awareness'
import * as Y from 'yjs'
import { colored } from './colors'
import { personOf } from './people'
import { make } from '../shared/elements'

const moved = Annotation.define<true>()

/** Milliseconds for which a name is shown after its owner has moved. */
const NAME_LASTS = 2500

class Caret extends WidgetType {
  constructor (readonly name: string, readonly color: string) {
    super()
  }

  override eq (other: Caret): boolean {
    return other.name === this.name && other.color === this.color
  }

  override toDOM (): HTMLElement {
    const caret = colored(make('span', 'caret'), this.color)
    // Shown by the stylesheet, so that it is no part of the text, for those who have it read out either.
    caret.dataset['name'] = this.name
    caret.classList.add('moved')
    setTimeout(() => caret.classList.remove('moved'), NAME_LASTS)
    return caret
  }

  override ignoreEvent (): boolean {
    return true
  }
}

class Cursors implements PluginValue {
  decorations: DecorationSet = Decoration.none

  constructor (private readonly view: EditorView, private readonly text: Y.Text, private readonly awareness: Awareness) {
    awareness.on('change', this.follow)
    this.decorations = this.draw()
  }

  destroy (): void {
    this.awareness.off('change', this.follow)
  }

  update (update: ViewUpdate): void {
    const theirs = update.transactions.some(transaction => transaction.annotation(moved))
    if (update.docChanged || update.selectionSet || update.focusChanged) this.share()
    if (update.docChanged || theirs) this.decorations = this.draw()
  }

  private readonly follow = ({ added, updated, removed }: Record<'added' | 'updated' | 'removed', number[]>): void => {
    const own = this.awareness.clientID
    if ([added, updated, removed].flat().some(client => client !== own)) this.view.dispatch({ annotations: moved.of(true) })
  }

  /** Tell the others where this user is. */
  private share (): void {
    const { main } = this.view.state.selection
    if (!this.view.hasFocus || this.awareness.getLocalState() === null) return
    const position = (index: number): unknown => Y.relativePositionToJSON(Y.createRelativePositionFromTypeIndex(this.text, index))
    const cursor = { anchor: position(main.anchor), head: position(main.head) }
    if (JSON.stringify(cursor) !== JSON.stringify(this.awareness.getLocalState()?.['cursor'])) {
      this.awareness.setLocalStateField('cursor', cursor)
    }
  }

  private draw (): DecorationSet {
    const found: Range<Decoration>[] = []
    for (const [client, state] of this.awareness.getStates()) {
      if (client === this.awareness.clientID) continue
      const anchor = this.index(state['cursor']?.anchor)
      const head = this.index(state['cursor']?.head)
      if (anchor === null || head === null) continue
      const { name, color } = personOf(client, state)
      if (anchor !== head) {
        const mark = Decoration.mark({ class: 'selected', attributes: { style: `--user: ${color}` } })
        found.push(mark.range(Math.min(anchor, head), Math.max(anchor, head)))
      }
      found.push(Decoration.widget({ widget: new Caret(name, color), side: head > anchor ? -1 : 1 }).range(head))
    }
    return Decoration.set(found, true)
  }

  /** Where in the text a position is that somebody shared; null if it is in no text of ours. */
  private index (position: unknown): number | null {
    if (typeof position !== 'object' || position === null) return null
    const { doc } = this.text
    if (doc === null) return null
    const found = Y.createAbsolutePositionFromRelativePosition(Y.createRelativePositionFromJSON(position), doc)
    return found?.type === this.text ? Math.min(found.index, this.view.state.doc.length) : null
  }
}

/** Show where the others are, and tell them where this user is. */
export const cursors = (text: Y.Text, awareness: Awareness): Extension =>
  ViewPlugin.define(view => new Cursors(view, text, awareness), { decorations: cursors => cursors.decorations })
