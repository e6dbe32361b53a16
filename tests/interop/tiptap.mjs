// node tiptap.mjs ws://127.0.0.1:PORT CHROMIUM: people who write with Tiptap in a browser, each with another version of
// Hocuspocus' provider, and clients in Node. Exits 0 when they end with the same document and see each other.

import { changed, NativeClient, run, until, YClient } from './clients.mjs'
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import { build } from 'esbuild-wasm'
import { chromium } from 'playwright-core'
import * as Y from 'yjs'

const [base, executablePath] = process.argv.slice(2)
const room = `${randomUUID()} Tiptap/😀`
const html = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><div id="editor"></div>' +
  '<script src="editor.js"></script>'

const bundle = async () => {
  const entry = fileURLToPath(new URL('editor.mjs', import.meta.url))
  const { outputFiles, warnings } = await build({ entryPoints: [entry], bundle: true, write: false, format: 'iife' })
  assert.deepEqual(warnings, [])
  return outputFiles[0].text
}

/** Serve the page and its script; where. */
const serve = async script => {
  const server = createServer(({ url }, response) => {
    const [type, body] = url === '/editor.js' ? ['text/javascript', script] : ['text/html', html]
    response.writeHead(200, { 'Content-Type': `${type}; charset=utf-8` }).end(body)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return `http://127.0.0.1:${server.address().port}/`
}

const launch = () => chromium.launch({
  executablePath,
  headless: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'
  ]
})

/** Somebody who writes with Tiptap. What their page shows is their `shown`. */
class Writer {
  static async open (browser, site, name, version) {
    const writer = new Writer()
    Object.assign(writer, { name, version, shown: {}, trouble: [] })
    const page = writer.page = await (await browser.newContext()).newPage()
    page.on('console', message => {
      if (['error', 'warning'].includes(message.type())) writer.trouble.push(message.text())
    })
    page.on('pageerror', error => writer.trouble.push(String(error)))
    page.on('requestfailed', request => writer.trouble.push(`${request.url()} cannot be loaded`))
    await page.exposeFunction('report', shown => {
      writer.shown = shown
      changed()
    })
    await page.goto(`${site}?${new URLSearchParams({ url: `${base}/hocuspocus`, room, name, version })}`)
    await until(`${name} has the document`, () => writer.shown.synced, () => writer.describe())
    return writer
  }

  type (text) { return this.page.keyboard.type(text) }
  press (keys) { return this.page.keyboard.press(keys) }

  /** Put the cursor behind the text of a block. */
  async goTo (block) {
    await this.page.locator('.tiptap > *').nth(block).click()
    await this.press('End')
    await until(`${this.name} is there`, () => this.shown.cursor?.[0] === block && this.shown.cursor[1], () => this.describe())
  }

  /** Make a block a heading and its last word bold, in one go: a selection may not survive what others do. */
  format (block) {
    return this.page.evaluate(block => {
      const { editor } = window
      let end
      editor.state.doc.forEach((node, offset, index) => {
        if (index === block) end = offset + node.nodeSize - 1
      })
      const word = editor.state.doc.child(block).textContent.split(' ').at(-1)
      editor.chain().setTextSelection({ from: end - word.length, to: end }).toggleBold().toggleHeading({ level: 1 }).run()
    }, block)
  }

  describe () {
    return `  ${this.name} with provider ${this.version}: ${JSON.stringify(this.shown)}, trouble ${this.trouble}`
  }
}

const fragment = client => client.doc.getXmlFragment('default')

const write = async (browser, site) => {
  const [yjs, native] = await Promise.all([
    YClient.open('y-websocket-3', new URL('/yjs', base).href, encodeURIComponent(room)),
    NativeClient.open(base, room, { id: 'bob', name: 'Bob' })
  ])
  const writers = await Promise.all([['Ann', '4'], ['Cleo', '3'], ['Dora', '2']].map(
    ([name, version]) => Writer.open(browser, site, name, version)))
  const [ann] = writers

  /** Wait until all pages show something for which `holds`, have one document with the clients, and all is stored. */
  const agreed = (what, holds) => until(`all have ${what}`, () =>
    holds(ann.shown.html) && native.same(yjs) && writers.every(({ shown }) => shown.unsynced === 0 &&
      shown.html === ann.shown.html && shown.xml === fragment(yjs).toString() &&
      isDeepStrictEqual(shown.vector, yjs.vector())),
  () => [...writers, yjs, native].map(each => each.describe()).join('\n'))
  const all = html => agreed(html, shown => shown === html)

  await ann.goTo(0)
  await ann.type('one')
  await ann.press('Enter')
  await ann.type('two')
  await ann.press('Enter')
  await ann.type('three')
  await all('<p>one</p><p>two</p><p>three</p>')

  for (const [index, writer] of writers.entries()) await writer.goTo(index)
  for (const writer of writers) {
    const others = writers.map(({ name }) => name).filter(name => name !== writer.name)
    await until(`${writer.name} sees where the others are`,
      () => isDeepStrictEqual(writer.shown.carets, others), () => writer.describe())
  }
  await Promise.all(writers.map(writer => writer.type(` 你好 😀 by ${writer.name}`)))
  await all(writers.map(({ name }, index) => `<p>${['one', 'two', 'three'][index]} 你好 😀 by ${name}</p>`).join(''))
  await Promise.all(writers.map((writer, index) => writer.format(index)))
  const headings = writers.map(
    ({ name }, index) => `<h1>${['one', 'two', 'three'][index]} 你好 😀 by <strong>${name}</strong></h1>`).join('')
  await all(headings)

  const paragraph = new Y.XmlElement('paragraph')
  paragraph.insert(0, [new Y.XmlText('native ')])
  fragment(native).push([paragraph])
  await all(`${headings}<p>native </p>`)

  // All at one place: in which order is nobody's to say, but it is the same for everybody, and nothing is lost.
  for (const writer of writers) await writer.goTo(3)
  fragment(yjs).get(3).get(0).insert(0, '鲍 ')
  await Promise.all(writers.map(writer => writer.type(`${writer.name} 😀`)))
  const letters = text => [...text].sort().join('')
  const written = `${headings}<p>鲍 native Ann 😀Cleo 😀Dora 😀</p>`
  await agreed('all letters', shown => shown.startsWith(headings) && letters(shown) === letters(written))

  for (const { name, trouble } of writers) assert.deepEqual(trouble, [], `what ${name}'s browser complains of`)
}

await run('tiptap', async () => {
  const [browser, site] = await Promise.all([launch(), bundle().then(serve)])
  try {
    await write(browser, site)
  } finally {
    await browser.close()
  }
})
