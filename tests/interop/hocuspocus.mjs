// node hocuspocus.mjs ws://127.0.0.1:PORT SCENARIO VERSION [TOKENS]: one scenario, played by Hocuspocus' provider of one
// version. Exits 0 when it holds. VERSION is a key of `providers` in providers.mjs; TOKENS is JSON with tokens by name.

import { converged, NativeClient, run, until, YClient } from './clients.mjs'
import { edit, random } from './edits.mjs'
import { connect, HClient, providers } from './providers.mjs'
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'

const [base, scenario, version, given = '{}'] = process.argv.slice(2)
const room = randomUUID()
const tokens = JSON.parse(given)

const url = new URL('/hocuspocus', base).href
const as = (id, name) => `${url}?user_id=${id}&user_name=${name}`
const open = (where = url, name = room, options) => HClient.open(version, where, name, options)
const openYjs = (name = room) => YClient.open('y-websocket-3', new URL('/yjs', base).href, name)
const bob = (name = room, token) => NativeClient.open(base, name, { id: 'bob', name: 'Bob', token })
const turn = () => new Promise(resolve => setImmediate(resolve))

/** Another version, for what they do with each other. */
const another = Object.keys(providers).find(each => each !== version)

/** The state of somebody with this name, as a client sees it. */
const named = (client, name) => [...client.awareness.getStates().values()].find(({ user }) => user?.name === name)

/** Wait until what `from` has said last has come to `to`, and so all that it has said before. */
const heard = async (from, to) => {
  const mark = randomUUID()
  from.provider.sendStateless(mark)
  await until('a message has come through', () => to.said.includes(mark), () => to.describe())
}

const scenarios = {
  /** Two of its clients, one of y-websocket and one of the native protocol edit every kind of type at once. */
  async convergence () {
    const clients = await Promise.all([open(), open(), openYjs(), bob()])
    const [ann, cleo, yjs, native] = clients
    ann.insertText(0, 'Hello 世界 😀!')
    cleo.insertText(0, 'Žluťoučký kůň ', { bold: true })
    yjs.insertText(0, '👩‍👩‍👧\n')
    native.insertText(0, 'naïve ', { italic: true })
    ann.mapSet('title', 'ann')
    yjs.mapSet('title', 'yjs')
    cleo.mapNest('nested', { deep: { list: [1, 2.5, null, true, '你'] } })
    ann.arrayInsert(0, [1, 'two', { three: 3 }])
    native.arrayInsert(0, ['😀', null])
    ann.elementInsert(0, 'p', { class: 'lead' }, 'héllo 😀', { em: {} })
    native.elementInsert(0, 'h1', { id: '标题' }, '标题 title', { strong: {} })
    await converged(clients)
    for (const part of ['Hello 世界 😀!', 'Žluťoučký kůň ', '👩‍👩‍👧\n', 'naïve ']) assert(ann.text().includes(part), part)
    assert.deepEqual(yjs.read().map.nested, { deep: { list: [1, 2.5, null, true, '你'] } })
    assert.equal(native.read().array.length, 5)

    const below = random(20251124)
    for (let round = 0; round < 60; round++) {
      for (const client of clients) edit(client, below)
      await turn()
    }
    ann.elementDelete(0)
    cleo.mapDelete('nested')
    await converged(clients)
    await Promise.all([ann.settled(), cleo.settled()])
    await until('the native client is told that all is stored', () => native.acked === native.sent)
    const late = await open()
    await converged([late, ...clients])
  },

  /** What it counts as unsynced is 0 again after edits, after edits offline, and after a forced sync. */
  async unsynced () {
    const [ann, cleo] = await Promise.all([open(), open()])
    ann.insertText(0, 'alone 😀')
    assert.equal(ann.unsynced, 1)
    await ann.settled()
    for (let index = 0; index < 100; index++) ann.insertText(index, `${index % 10}`)
    assert.equal(ann.unsynced, 100)
    await ann.settled()
    await converged([ann, cleo])
    assert.equal(cleo.unsynced, 0, 'the changes of others are not its own')

    ann.provider.forceSync()
    assert.equal(ann.unsynced, 1)
    await ann.settled()
    ann.insertText(0, 'one ')
    ann.provider.forceSync()
    ann.insertText(0, 'two ')
    await ann.settled()
    await heard(ann, cleo)
    assert.equal(ann.unsynced, 0, 'it is not told of more than it counts')

    ann.socket.disconnect()
    await until('ann is offline', () => ann.socket.status === 'disconnected')
    ann.insertText(0, 'ann offline ')
    ann.insertText(0, 'still ')
    cleo.insertText(cleo.text().length, 'cleo meanwhile')
    assert(ann.unsynced > 0)
    ann.socket.connect()
    await converged([ann, cleo])
    // Version 2 sends what it had queued while it was offline and does not count it: it has fewer than none then.
    await until('nothing is unsynced', () => ann.provider.synced && !ann.provider.hasUnsyncedChanges)
    if (version !== '2') assert.equal(ann.unsynced, 0)
    await cleo.settled()
    assert(cleo.text().startsWith('still ann offline two one '), cleo.text())
  },

  /** Documents come and go on one connection while others go on. */
  async documents () {
    const names = ['one', 'two', 'three'].map(each => `${room} ${each}`)
    const socket = await connect(version, as('ann', 'Ann'))
    const clients = await Promise.all(names.map(name => open(socket, name)))
    const others = await Promise.all(names.map(name => bob(name)))
    for (const [index, client] of clients.entries()) client.insertText(0, names[index])
    for (const [index, other] of others.entries()) {
      await until('each has its own text', () => other.text() === names[index], () => other.describe())
    }
    const [first, second] = clients
    await Promise.all(clients.map(client => client.settled()))
    first.awareness.setLocalStateField('user', { name: 'Ann' })
    first.leave()
    const { user } = await others[0].received('leave')
    assert.deepEqual(user, { id: 'ann', name: 'Ann' })
    others[0].insertText(0, 'meanwhile ')
    second.insertText(0, 'and on ')
    await until('the others go on', () => others[1].text() === `and on ${names[1]}`)
    await second.settled()
    assert(!first.text().includes('meanwhile'), 'who has left hears nothing')
    // What it has said last, behind its goodbye, has not brought it back.
    const presences = others[0].messages.filter(({ type }) => type === 'join' || type === 'leave')
    assert.deepEqual(presences.map(({ type }) => type), ['leave'], others[0].describe())

    const again = await open(socket, names[0])
    assert.equal(again.text(), `meanwhile ${names[0]}`)
    again.insertText(0, 'back ')
    await until('it is back', () => others[0].text() === `back meanwhile ${names[0]}`)
    await again.settled()
    assert.deepEqual(socket.closes, [], 'all on one connection')
    for (const index of [1, 2]) {
      assert(!others[index].messages.some(({ type }) => type === 'leave'), others[index].describe())
    }
  },

  /** A name is one document in all dialects, and names that differ are different documents. */
  async names () {
    const names = [
      `${room} two words`, `${room}/a/b`, `${room}//`, `${room}/你好/😀 é`, `${room} 100%`, `${room}%20two%20words`,
      `${room}?q=1&r#f`, `${room}+plus`, `${room}${'😀'.repeat(100)}`
    ]
    const socket = await connect(version, url)
    const everybody = await Promise.all(names.map(async name => {
      const client = await open(socket, name)
      const clients = [client, await openYjs(encodeURIComponent(name)), await bob(name)]
      client.insertText(0, name)
      return clients
    }))
    for (const [index, clients] of everybody.entries()) {
      for (const client of clients) {
        await until(`all have ${names[index]}`, () => client.text() === names[index], () => client.describe())
      }
    }
  },

  /** Presence appears, moves and vanishes, between versions and dialects. */
  async presence () {
    const [ann, cleo, yjs, native] = await Promise.all([open(), HClient.open(another, url, room), openYjs(), bob()])
    native.say({ type: 'awareness', user: { id: 'bob', name: 'Bob' }, cursor: { line: 4, column: 2 } })
    for (const [client, name] of [[ann, 'Ann 😀'], [cleo, 'Cleo'], [yjs, 'Yjs']]) {
      client.awareness.setLocalStateField('user', { name })
    }
    for (const client of [ann, cleo, yjs]) {
      for (const name of ['Ann 😀', 'Cleo', 'Yjs', 'Bob']) {
        await until(`all see ${name}`, () => named(client, name), () => client.describe())
      }
    }
    for (const other of [ann, cleo, yjs]) await until('bob sees all', () => native.states.get(other.id)?.user)
    for (const index of [1, 2, 3]) {
      ann.awareness.setLocalStateField('cursor', { anchor: index })
      for (const client of [cleo, yjs]) await until('she moves', () => client.sees(ann)?.cursor?.anchor === index)
    }
    ann.close()
    for (const client of [cleo, yjs]) await until('she goes', () => !client.sees(ann))
    native.close()
    for (const client of [cleo, yjs]) await until('bob goes', () => !named(client, 'Bob'))
    assert(cleo.sees(yjs) && yjs.sees(cleo))
  },

  /** Its own messages reach the others, of every version, and native clients where they are objects with a type. */
  async stateless () {
    const [ann, cleo, other, native] = await Promise.all([open(), open(), HClient.open(another, url, room), bob()])
    const note = '{"type": "note",  "text": "h\\u00e9llo 😀"}'
    const said = ['plain 😀', note, '{"type":"join","user":{"id":"mallory","name":"Mallory"}}', '[]', '']
    for (const text of said) ann.provider.sendStateless(text)
    await heard(ann, cleo)
    await heard(ann, other)
    for (const client of [cleo, other]) assert.deepEqual(client.said.slice(0, said.length), said)
    assert.equal((await native.received('note')).text, 'héllo 😀')
    assert(!native.messages.some(({ user }) => user?.id === 'mallory'), native.describe())
    native.say({ type: 'greeting', to: 'all' })
    for (const client of [ann, cleo, other]) {
      await until('a native message comes', () => client.said.at(-1) === '{"type":"greeting","to":"all"}')
    }
    assert.equal(ann.said.length, 1, 'and never comes back to who has said it')
    const late = await open()
    await heard(ann, late)
    assert.equal(late.said.length, 1, 'nothing of it is kept')
  },

  /** A wrong token, then the right one, on the same connection, on which another document goes on all the while. */
  async token () {
    const socket = await connect(version, url)
    const there = await open(socket, `${room} there`, { token: tokens.write })
    let token = 'wrong'
    const ann = await HClient.begin(version, socket, room, { token: () => token })
    await until('the wrong token is denied', () => ann.failures.length, () => ann.describe())
    ann.insertText(0, 'written before')
    const native = await bob(room, tokens.write)
    assert.equal(native.text(), '')
    there.insertText(0, 'goes on')
    await there.settled()
    assert.deepEqual([ann.scopes, socket.closes], [[], []])

    token = tokens.write
    if (version !== '2') ann.provider.detach()
    ann.provider[version === '2' ? 'connect' : 'attach']()
    await until('the right one is granted', () => ann.scopes.length, () => ann.describe())
    await until('it is in', () => native.text() === 'written before', () => ann.describe())
    native.insertText(0, 'not ')
    await until('it has what is there', () => ann.text() === 'not written before', () => ann.describe())
    await ann.settled()
    assert.deepEqual([ann.failures.length, ann.scopes, socket.closes], [1, ['read-write'], []], ann.describe())
  },

  /** Who may only read sees everything and is seen, and nobody sees what they write. */
  async 'read-only' () {
    const ann = await open(url, room, { token: tokens.write })
    ann.insertText(0, 'hello')
    await ann.settled()
    const rose = await open(url, room, { token: tokens.read })
    const native = await bob(room, tokens.write)
    assert.deepEqual([rose.scopes, rose.text()], [['readonly'], 'hello'])
    assert.equal(rose.unsynced, 0, 'her answer to what the server asks holds nothing new')
    rose.awareness.setLocalStateField('user', { name: 'Rose' })
    ann.awareness.setLocalStateField('user', { name: 'Ann' })
    await until('they see each other', () => ann.sees(rose)?.user && rose.sees(ann)?.user)
    ann.insertText(5, ' there')
    await until('she sees the change', () => rose.text() === 'hello there')

    rose.insertText(0, 'not for you ')
    rose.deleteText(rose.text().length - 5, 5)
    await until('both are refused', () => rose.refused === 2, () => rose.describe())
    assert.equal(rose.unsynced, 2)
    await heard(rose, ann)
    for (const client of [ann, native, await open(url, room, { token: tokens.read })]) {
      assert.equal(client.text(), 'hello there')
    }
    assert.deepEqual(rose.socket.closes, [])
  },

  /** Another token changes what a client may do, live; version 2 cannot show one. */
  async rights () {
    let token = tokens.read
    const [ann, rose] = await Promise.all([
      open(url, room, { token: tokens.write }), open(url, room, { token: () => token })
    ])
    rose.insertText(0, 'early ')
    await until('she may not write', () => rose.refused === 1)
    token = tokens.readerWrites
    await rose.provider.sendToken()
    await until('she may', () => rose.scopes.at(-1) === 'read-write', () => rose.describe())
    rose.insertText(6, 'late')
    await converged([ann, rose])
    assert.equal(ann.text(), 'early late')
    rose.provider.forceSync()
    await rose.settled()

    token = tokens.read
    await rose.provider.sendToken()
    await until('she may no more', () => rose.scopes.at(-1) === 'readonly', () => rose.describe())
    rose.insertText(0, 'too late ')
    await until('it is refused', () => rose.refused === 2, () => rose.describe())
    await heard(rose, ann)
    assert.equal(ann.text(), 'early late')

    token = 'wrong'
    await rose.provider.sendToken()
    await until('she is out', () => rose.failures.length, () => rose.describe())
    await until('and gone', () => !ann.sees(rose))
    assert.deepEqual([rose.scopes, rose.socket.closes], [['readonly', 'read-write', 'readonly'], []])
  },

  /** Whose token is about to expire is asked for another one, and goes on with it; version 2 cannot be asked. */
  async renewal () {
    const shown = [tokens.short, tokens.write]
    const ann = await open(url, room, { token: () => shown.shift() })
    await until('she is asked', () => ann.scopes.length === 2, () => ann.describe())
    ann.insertText(0, 'goes on')
    await ann.settled()
    assert.deepEqual([shown, ann.failures, ann.socket.closes], [[], [], []])
  },

  /** Two providers of one document on one connection, each a member of its own (version 4 alone can). */
  async sessions () {
    const socket = await connect(version, url)
    const options = { sessionAwareness: true }
    const [ann, cleo, bobs] = await Promise.all([open(socket, room, options), open(socket, room, options), bob()])
    ann.insertText(0, 'ann ')
    await until('the other has it', () => cleo.text() === 'ann ', () => cleo.describe())
    cleo.insertText(4, 'cleo ')
    bobs.insertText(0, 'bob ')
    await converged([ann, cleo, bobs])
    ann.awareness.setLocalStateField('user', { name: 'Ann' })
    cleo.awareness.setLocalStateField('user', { name: 'Cleo' })
    await until('they see each other', () => ann.sees(cleo)?.user && cleo.sees(ann)?.user)
    await heard(ann, cleo)
    assert.deepEqual(ann.said, [])
    await Promise.all([ann.settled(), cleo.settled()])
    ann.leave()
    await until('one leaves', () => !cleo.sees(ann))
    cleo.insertText(0, 'still ')
    await until('the other goes on', () => bobs.text() === 'still bob ann cleo ', () => cleo.describe())
    await cleo.settled()
    assert.deepEqual(socket.closes, [])
  },

  /** All versions come back to a server that was stopped or killed and started again, and lose nothing. */
  async restart () {
    const hurry = { delay: 50, minDelay: 50, maxDelay: 200 }
    const clients = await Promise.all(Object.keys(providers).map(
      async each => HClient.open(each, await connect(each, url, hurry), room)))
    for (const how of ['SIGTERM', 'SIGKILL']) {
      for (const client of clients) client.insertText(0, `${client.version} before ${how} `)
      await converged(clients)
      await Promise.all(clients.map(client => until('nothing is unsynced', () => !client.provider.hasUnsyncedChanges)))
      const before = clients.map(client => client.socket.closes.length)
      console.log(how) // upon which the test does so
      await until('all have lost it', () => clients.every((one, index) => one.socket.closes.length > before[index]))
      for (const client of clients) client.insertText(0, `${client.version} without ${how} `)
      await converged(clients)
      await Promise.all(clients.map(client => until('nothing is unsynced',
        () => client.provider.synced && !client.provider.hasUnsyncedChanges, () => client.describe())))
    }
    const late = await HClient.open('4', url, room)
    await converged([late, ...clients])
    for (const each of Object.keys(providers)) assert(late.text().includes(`${each} without SIGKILL`), late.text())
  }
}

await run(`${scenario} ${version}`, () => {
  assert(scenario in scenarios, `unknown scenario ${scenario}; there are ${Object.keys(scenarios).join(', ')}`)
  return scenarios[scenario]()
})
