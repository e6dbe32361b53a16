// Edits of every kind, drawn by a generator with a seed.

/** A small generator with a seed (mulberry32), so that a failure can be played again. */
export const random = seed => below => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) % below
}

/** A position in the text which does not fall between the halves of a surrogate pair. */
const between = (text, index) => /[\udc00-\udfff]/.test(text.charAt(index)) ? index + 1 : index

const words = ['plain', 'žluťoučký', '你好', 'مرحبا', '😀', '👩‍👩‍👧', 'e\u0301', '\n']

/** Change something of the text, the map or the array; `below` is a generator as above. */
export const edit = (client, below) => {
  const text = client.text()
  const start = between(text, below(text.length + 1))
  const end = between(text, Math.min(text.length, start + 1 + below(4)))
  const edits = [
    () => client.insertText(start, words[below(words.length)]),
    () => client.insertText(start, words[below(words.length)], { bold: true }),
    () => end > start && client.formatText(start, end - start, { italic: below(2) ? true : null }),
    () => end > start && client.deleteText(start, end - start),
    () => client.mapSet(`key ${below(4)}`, { at: [below(100), null, 0.5, -1, '😀'] }),
    () => client.mapDelete(`key ${below(4)}`),
    () => client.arrayInsert(below(client.arrayLength() + 1), [below(100), words[below(words.length)], { a: false }]),
    () => client.arrayLength() > 3 && client.arrayDelete(below(client.arrayLength() - 2), 2)
  ]
  edits[below(edits.length)]()
}
