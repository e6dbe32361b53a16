// Names for what has none yet: documents, and people.

const QUALITIES = ('amber autumn bold brave bright brisk calm clear clever cosy crisp curious dapper eager early easy fair fancy ' +
  'fond free fresh gentle glad golden grand happy honest humble jolly keen kind lively lucky lunar mellow merry mild misty ' +
  'modest neat noble open patient plain polite proud quick quiet rapid ready silent silver simple smart snowy solar steady ' +
  'sunny swift tidy tiny vivid warm wise witty').split(' ')
const ANIMALS = ('Badger Beaver Bison Crane Crow Deer Dolphin Dove Falcon Ferret Finch Fox Gecko Goose Hare Hawk Hedgehog Heron ' +
  'Ibis Jackal Jay Kestrel Koala Lark Lemur Lynx Magpie Marten Mole Moose Narwhal Newt Ocelot Osprey Otter Owl Panda Pelican ' +
  'Penguin Plover Puffin Quail Rabbit Raven Robin Salmon Seal Sparrow Squirrel Stork Swan Tapir Tern Toad Turtle Vole Walrus ' +
  'Weasel Whale Wombat Wren Yak Zebra').split(' ')
const PLACES = ('bay beach brook canyon cave cliff coast cove creek dale delta desert dune fen field fjord forest garden glade ' +
  'glen grove harbour hill island lagoon lake marsh meadow moor mountain oasis orchard pass peak plain pond prairie reef ridge ' +
  'river shore spring strait stream summit tundra valley wood').split(' ')

const pick = (words: readonly string[]): string => words[random(words.length)] ?? ''

const random = (below: number): number => {
  const [drawn = 0] = crypto.getRandomValues(new Uint32Array(1))
  return drawn % below
}

/** A document's name that can be read out, and is hardly drawn twice: `quiet-otter-lagoon-4821`. */
export const randomName = (): string =>
  [pick(QUALITIES), pick(ANIMALS).toLowerCase(), pick(PLACES), 1000 + random(9000)].join('-')

/** What somebody is called who has not said. */
export const randomAnimal = (): string => pick(ANIMALS)

/** One of `count`, by chance. */
export const randomIndex = random
