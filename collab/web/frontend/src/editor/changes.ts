// What has changed between two texts, as elements: <ins> and <del> in the text, with long stretches that are alike left out.

import { type Change, diffLines, diffWordsWithSpace } from 'diff'
import { make } from '../shared/elements'

/** Characters up to which texts are compared word by word; longer ones line by line. */
const WORDS_UP_TO = 200_000

/** Milliseconds in which it has to be found out. */
const TIMEOUT = 1500

/** Lines that are shown around a change. */
const CONTEXT = 2

export interface Changes {
  nodes: Node[]
  /** How many words or lines have come and gone. */
  summary: string
}

/** Compare two texts; null if that would take too long. */
export const changesBetween = (before: string, after: string): Changes | null => {
  const byWords = before.length + after.length <= WORDS_UP_TO
  const options = { timeout: TIMEOUT }
  const parts = (byWords ? diffWordsWithSpace(before, after, options) : undefined) ?? diffLines(before, after, options)
  if (parts === undefined) return null
  const nodes = parts.flatMap((part, index) => nodesOf(part, index === 0, index === parts.length - 1))
  return { nodes, summary: summary(parts) }
}

const nodesOf = ({ value, added, removed }: Change, first: boolean, last: boolean): Node[] => {
  if (added) return [make('ins', '', value)]
  if (removed) return [make('del', '', value)]
  const lines = value.split('\n')
  const head = first ? 0 : CONTEXT
  const tail = last ? 0 : CONTEXT
  const left = lines.length - head - tail
  if (left <= CONTEXT) return [new Text(value)]
  return [
    // What is left out is a block of its own, and so begins and ends a line.
    new Text(lines.slice(0, head).join('\n')),
    make('span', 'left-out', `${left} ${left === 1 ? 'line' : 'lines'} alike`),
    new Text(lines.slice(lines.length - tail).join('\n'))
  ]
}

const summary = (parts: readonly Change[]): string => {
  const size = (which: 'added' | 'removed'): number => parts.filter(part => part[which]).reduce((sum, { value }) => sum + value.length, 0)
  const [added, removed] = [size('added'), size('removed')]
  if (!added && !removed) return 'Nothing has changed since.'
  const written = added ? [`${added} ${added === 1 ? 'character' : 'characters'} written`] : []
  const deleted = removed ? [`${removed} deleted`] : []
  return `Since then: ${[...written, ...deleted].join(', ')}.`
}
