// Imported before anything of Yjs: the clients report trouble only on the console ("Unable to compute message",
// "Caught error while handling a Yjs update", "Yjs was already imported"), and here trouble is a failure.

/** @type {string[]} */
export const complaints = []

for (const level of ['error', 'warn']) {
  const print = console[level]
  console[level] = (...words) => {
    complaints.push(words.map(String).join(' '))
    print(...words)
  }
}
