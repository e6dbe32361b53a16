// node scenario.mjs ws://127.0.0.1:PORT/yjs SCENARIO VERSION [ROOM]: one scenario, played by clients of one version.
// Exits 0 when it holds. VERSION is a key of `versions` in clients.mjs. All data passes through the server: disableBc.

import { converged, kit, NativeClient, run, until, versions, YClient } from './clients.mjs'
import { edit, random } from './edits.mjs'
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const [base, scenario, version, room = randomUUID()] = process.argv.slice(2)

const open = (name = room, options) => YClient.open(version, base, name, options)
const turn = () => new Promise(resolve => setImmediate(resolve))

const scenarios = {
  /** Three clients edit every kind of type at the same time. */
  async convergence () {
    const clients = await Promise.all([open(), open(), open()])
    const [ann, bob, cleo] = clients
    ann.insertText(0, 'Hello 世界 😀!')
    bob.insertText(0, 'Žluťoučký kůň ', { bold: true })
    cleo.insertText(0, '👩‍👩‍👧\n')
    ann.mapSet('title', 'ann')
    bob.mapSet('title', 'bob')
    cleo.mapNest('nested', { deep: { list: [1, 2.5, null, true, '你'] } })
    ann.arrayInsert(0, [1, 'two', { three: 3 }])
    bob.arrayInsert(0, ['😀', null])
    ann.elementInsert(0, 'p', { class: 'lead' }, 'héllo 😀', { em: {} })
    cleo.elementInsert(0, 'h1', { id: '标题' }, '标题 title', { strong: {} })
    await converged(clients)
    const seen = ann.read()
    for (const part of ['Hello 世界 😀!', 'Žluťoučký kůň ', '👩‍👩‍👧\n']) assert(ann.text().includes(part), part)
    assert.deepEqual(seen.map.nested, { deep: { list: [1, 2.5, null, true, '你'] } })
    assert.equal(seen.array.length, 5)

    ann.formatText(0, 3, { italic: true })
    bob.deleteText(0, bob.text().indexOf('Hello'))
    cleo.insertText(cleo.text().length, ' end')
    ann.mapDelete('nested')
    bob.arrayDelete(1, 2)
    cleo.elementDelete(1)
    await converged(clients)
    assert(cleo.text().startsWith('Hello 世界'))
    assert(!('nested' in bob.read().map))

    const below = random(20251123)
    for (let round = 0; round < 60; round++) {
      for (const client of clients) edit(client, below)
      await turn()
    }
    await converged(clients)
  },

  /** Who comes late gets everything: from those who are there, and from the server alone; small and large. */
  async 'late-joiner' () {
    const ann = await open()
    ann.insertText(0, 'before 😀 ', { bold: true })
    ann.mapSet('answer', 42)
    ann.arrayInsert(0, ['一', '二'])
    ann.elementInsert(0, 'p', { class: 'lead' }, 'text', { em: {} })
    ann.deleteText(0, 3)
    const bob = await open()
    await converged([ann, bob])
    assert.equal(bob.text(), 'ore 😀 ')

    ann.insertText(ann.text().length, '0123456789 数字 😀 '.repeat(150_000))
    await until('the large update arrives', () => bob.text().length === ann.text().length)
    const cleo = await open()
    assert.equal(cleo.text().length, ann.text().length, 'synced means that all is there')
    await converged([ann, bob, cleo])

    for (const client of [ann, bob]) client.provider.disconnect()
    await until('cleo is alone', () => cleo.awareness.getStates().size === 1)
    const dora = await open()
    await converged([cleo, dora])
  },

  /** What is written while the connection is down arrives once it is up, in both directions. */
  async offline () {
    const [ann, bob] = await Promise.all([open(), open()])
    ann.insertText(0, 'shared ')
    ann.awareness.setLocalStateField('user', { name: 'Ann' })
    await converged([ann, bob])
    await until('bob sees ann', () => bob.sees(ann))

    ann.provider.disconnect()
    await until('bob sees ann go', () => !bob.sees(ann))
    ann.insertText(0, 'ann offline 😀 ')
    ann.mapSet('by', 'ann')
    ann.deleteText(ann.text().indexOf('shared'), 2)
    bob.insertText(bob.text().length, 'bob meanwhile 你好 ')
    bob.mapSet('by', 'bob')
    assert(!ann.same(bob), 'they were apart')
    ann.provider.connect()
    await converged([ann, bob])
    assert.equal(bob.text(), 'ann offline 😀 ared bob meanwhile 你好 ')

    ann.provider.ws.terminate()
    await until('ann notices', () => !ann.provider.wsconnected)
    ann.insertText(0, 'cut off ')
    bob.insertText(0, 'still there ')
    await converged([ann, bob])
    assert(bob.text().includes('cut off ') && ann.text().includes('still there '))
  },

  /** Presence appears, moves and vanishes, orderly or not. */
  async awareness () {
    const [ann, bob] = await Promise.all([open(), open()])
    ann.awareness.setLocalStateField('user', { name: 'Ann 😀', color: '#ff6b6b' })
    bob.awareness.setLocalStateField('user', { name: 'Bob' })
    await until('bob sees ann', () => bob.sees(ann)?.user?.name === 'Ann 😀')
    await until('ann sees bob', () => ann.sees(bob)?.user?.name === 'Bob')
    for (const index of [1, 2, 3]) {
      ann.awareness.setLocalStateField('cursor', { anchor: index, head: index + 1 })
      await until('bob sees the cursor move', () => bob.sees(ann)?.cursor?.anchor === index)
    }
    const cleo = await open()
    cleo.awareness.setLocalStateField('user', { name: 'Cleo' })
    await until('cleo sees both', () => cleo.sees(ann)?.cursor?.head === 4 && cleo.sees(bob)?.user)
    await until('both see cleo', () => ann.sees(cleo) && bob.sees(cleo))
    cleo.close()
    await until('both see cleo go', () => !ann.sees(cleo) && !bob.sees(cleo))

    const gone = once(ann.provider.ws, 'close')
    ann.provider.disconnect()
    await until('bob sees ann disconnect', () => !bob.sees(ann))
    const [code] = await gone
    assert.equal(code, 1005, 'the server answers a close frame without a code in kind')
    ann.provider.connect()
    await ann.synced()
    ann.awareness.setLocalStateField('cursor', { anchor: 9, head: 9 })
    await until('bob sees ann again', () => bob.sees(ann)?.cursor?.anchor === 9)

    // @y/websocket-server 0.1.5 leaves a ghost here: it forgets whose a state is that left and came back.
    ann.provider.shouldConnect = false
    await vanishes(bob, ann.id, () => ann.provider.ws.terminate())

    const member = fork(fileURLToPath(import.meta.url), [base, 'member', version, room])
    const [id] = await once(member, 'message')
    await until('bob sees the other process', () => bob.sees(id)?.user?.name === 'member')
    await vanishes(bob, id, () => member.kill('SIGKILL'))
    assert(bob.awareness.getLocalState().user, 'bob himself is still there')
  },

  /** Not a test: the process which the awareness scenario kills. */
  async member () {
    const client = await open()
    client.awareness.setLocalStateField('user', { name: 'member' })
    process.send(client.id)
    await once(process, 'disconnect')
  },

  /**
   * The release candidates of y-websocket 3.1 count a local change as saved when it comes back from the server.
   * Neither 3.1.0 nor @y/websocket 4.0.0-0 and 4.0.0-3, the only ones published, have that event: when another
   * version gets it, the test fails here and this list is to be changed.
   */
  async 'sync-status' () {
    for (const other of Object.keys(versions)) {
      const { WebsocketProvider } = await kit(other)
      assert.equal('syncStatus' in WebsocketProvider.prototype, other === 'y-websocket-3rc', other)
    }
    const ann = await open()
    const colours = []
    ann.provider.on('sync-status', ({ status }) => colours.push(status))
    // In the millisecond of a change the status is still green, so that alone says nothing.
    const green = () => until('sync-status is green', () => {
      const { status, localUpdatesSynced } = ann.provider.syncStatus
      return status === 'green' && localUpdatesSynced
    }, () => `${JSON.stringify(ann.provider.syncStatus)} after ${colours.join(' ')}`)
    const saved = async () => {
      assert(!ann.provider.syncStatus.localUpdatesSynced, 'a local change is not saved at once')
      await green()
    }
    await green()
    ann.insertText(0, 'alone 😀')
    await saved()
    const bob = await open()
    ann.insertText(0, 'together ')
    await saved()
    ann.deleteText(0, 5)
    await saved()
    for (let index = 0; index < 50; index++) ann.insertText(index, `${index % 10}`)
    await saved()

    ann.provider.disconnect()
    await until('ann is offline', () => ann.provider.syncStatus.status === 'red')
    ann.insertText(0, 'offline ')
    ann.deleteText(ann.text().length - 2, 2)
    bob.insertText(bob.text().length, ' meanwhile')
    ann.provider.connect()
    await ann.synced()
    await green()
    await converged([ann, bob])
  },

  /**
   * All versions in one room, on both generations of Yjs: the text, the map and the array are the same to all.
   * A map nested by yjs 14 is left out, since its untyped type is an empty text to yjs 13; the reverse works.
   */
  async mixed () {
    const clients = await Promise.all(Object.keys(versions).map(each => YClient.open(each, base, room)))
    for (const [index, client] of clients.entries()) {
      client.insertText(0, `${client.version} 😀 `, index % 2 ? { bold: true } : undefined)
      client.mapSet(client.version, { index, 名: '你好' })
      client.mapSet('last', client.version)
      if (client.version !== '@y/websocket') client.mapNest(`nested ${index}`, { value: index })
      client.arrayInsert(0, [index, client.version])
      client.awareness.setLocalStateField('user', { name: client.version })
    }
    const parts = ['text', 'map', 'array']
    await converged(clients, parts)
    for (const { version } of clients) assert(clients[0].text().includes(`${version} 😀 `), version)
    await until('all see all', () => clients.every(one => clients.every(
      other => one.sees(other)?.user?.name === other.version)))

    for (const client of clients) {
      client.deleteText(0, 1)
      client.formatText(0, 5, { italic: true })
      client.mapDelete('nested 0')
      client.arrayDelete(0, 1)
    }
    await converged(clients, parts)

    const below = random(7)
    for (let round = 0; round < 20; round++) {
      for (const client of clients) edit(client, below)
      await turn()
    }
    await converged(clients, parts)
  },

  /** Editors of y-websocket and of the native protocol in one room. */
  async native () {
    const ann = await open(room, { params: { user_id: 'ann', user_name: 'Ann' } })
    ann.insertText(0, 'from ann 😀')
    ann.awareness.setLocalState({ user: { name: 'Ann', color: '#ff6b6b' }, cursor: { line: 1, column: 2 } })

    const bob = await NativeClient.open(base, room, { id: 'bob', name: 'Bob' })
    const { session, users } = await bob.received('initial_state')
    assert.match(session.id, /^[0-9A-Za-z]{27}$/)
    assert.match(session.connected_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/)
    assert.deepEqual([session.document_id, session.user_id, session.user_name], [room, 'bob', 'Bob'])
    assert.deepEqual(users, [{ id: 'ann', name: 'Ann' }])
    await until('bob has the text', () => bob.text() === 'from ann 😀')
    ann.insertText(0, 'again ')
    await until('bob has the change', () => bob.text() === 'again from ann 😀')
    bob.doc.getText('text').insert(0, '鲍勃 👋 ')
    bob.doc.getText('text').delete(bob.text().length - 2, 2)
    await until('ann has the changes', () => ann.text() === '鲍勃 👋 again from ann ')
    await until('bob is told that all is stored', () => bob.acked === bob.sent, () => bob.describe())

    assert.equal(bob.states.size, 0, 'no JSON awareness before it was asked for')
    bob.say({ type: 'query_awareness' })
    const state = await until('bob sees ann', () => bob.states.get(ann.id), () => bob.describe())
    assert.equal(state.user.name, 'Ann')
    assert.deepEqual(state.cursor, { line: 1, column: 2 })
    ann.awareness.setLocalStateField('cursor', { line: 3, column: 4 })
    await until('bob sees her move', () => bob.states.get(ann.id)?.cursor?.line === 3, () => bob.describe())

    const presence = () => [...ann.awareness.getStates()].find(([, { user }]) => user?.name === 'Bob')
    bob.say({ type: 'awareness', user: { id: 'bob', name: 'Bob', color: '#00f' }, cursor: { line: 42, column: 15 } })
    const [id, { user, cursor }] = await until('ann sees bob', presence)
    assert.deepEqual([user.id, user.color, cursor], ['bob', '#00f', { line: 42, column: 15 }])
    bob.say({ type: 'awareness', cursor: { line: 43, column: 0 }, state: { selecting: true } })
    await until('ann sees him move', () => ann.sees(id)?.cursor?.line === 43)
    assert.equal(ann.sees(id).user.name, 'Bob', 'a part that was not sent stays')
    assert.deepEqual(ann.sees(id).state, { selecting: true })
    bob.say({ type: 'awareness', cursor: null })
    await until('ann sees his cursor go', () => ann.sees(id) && (ann.sees(id).cursor ?? null) === null)

    const carol = await NativeClient.open(base, room, { id: 'carol', name: 'Carol 😀' })
    assert.deepEqual((await bob.received('join')).user, carol.user)
    const initial = await carol.received('initial_state')
    assert.deepEqual(initial.users, [{ id: 'ann', name: 'Ann' }, { id: 'bob', name: 'Bob' }])
    assert.deepEqual(Object.keys(initial.awareness).sort(), [id, ann.id].map(String).sort())
    assert.equal(initial.awareness[ann.id].cursor.line, 3)
    await until('carol has the text', () => carol.text() === ann.text())
    bob.say({ type: 'greeting', content: { text: 'hello 😀', n: 1.5 } })
    assert.deepEqual(await carol.received('greeting'), { type: 'greeting', content: { text: 'hello 😀', n: 1.5 } })
    bob.say({ type: 'ping' })
    await bob.received('pong')
    carol.close()
    assert.deepEqual((await bob.received('leave')).user, carol.user)

    ann.provider.disconnect()
    await until('bob sees ann go', () => !bob.states.has(ann.id), () => bob.describe())
    ann.provider.connect()
    await ann.synced()
    // She has forgotten his state but not its clock, and takes the next one.
    bob.say({ type: 'awareness', cursor: { line: 44, column: 0 } })
    await until('ann sees bob again', () => ann.sees(id)?.cursor?.line === 44)
    bob.close()
    await until('ann sees bob go', () => !ann.sees(id))
    for (const kind of ['greeting', 'error']) assert(!bob.messages.some(({ type }) => type === kind), bob.describe())
  },

  /** y-websocket's dialect on the native path, asked for as a subprotocol; 1.x has no such option. */
  async subprotocol () {
    const there = new URL('/ws/document', base).href
    const options = { protocols: ['yjs'], params: { user_id: 'ann', user_name: 'Ann' } }
    const [ann, bob] = await Promise.all([YClient.open(version, there, room, options), open()])
    assert.equal(ann.provider.ws.protocol, 'yjs')
    ann.insertText(0, 'over there 😀')
    ann.awareness.setLocalStateField('user', { name: 'Ann' })
    await converged([ann, bob])
    await until('bob sees ann', () => bob.sees(ann)?.user?.name === 'Ann')
  },

  /** A name is one document however it is written in the URL, and names that differ are different documents. */
  async rooms () {
    const names = [
      `${room} two words`, `${room}/a/b`, `${room}/你好/😀 é`, `${room}?q=1&r#f`, `${room} 100%`, `${room}//`,
      `${room}+plus`, `${room}%20two%20words`, `${room};semi:colon@at,"quoted"`
    ]
    const everybody = await Promise.all(names.map(async name => {
      const escaped = await open(encodeURIComponent(name))
      const unescaped = /[?#%]/.test(name) ? escaped : await open(name)
      const native = await NativeClient.open(base, name, { id: 'bob', name: 'Bob' })
      assert.equal((await native.received('initial_state')).session.document_id, name)
      escaped.insertText(0, name)
      return [escaped, unescaped, native]
    }))
    for (const [index, clients] of everybody.entries()) {
      for (const client of clients) {
        await until(`all have ${names[index]}`, () => client.text() === names[index], () => client.describe())
      }
    }
    const [spaces] = await Promise.all([open(`${room} two words`)])
    assert.equal(spaces.text(), names[0])
  }
}

/** Do something that ends a client: within a second the watcher no longer sees it. */
async function vanishes (watcher, id, end) {
  assert(watcher.sees(id), 'it was there')
  const start = performance.now()
  end()
  await until(`client ${id} vanishes`, () => !watcher.sees(id))
  const took = performance.now() - start
  assert(took < 1_000, `it took ${Math.round(took)} ms until the other client saw it go`)
}

await run(`${scenario} ${version}`, () => {
  assert(scenario in scenarios, `unknown scenario ${scenario}; there are ${Object.keys(scenarios).join(', ')}`)
  return scenarios[scenario]()
})
