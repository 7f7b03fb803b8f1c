// A DHT of a few nodes on one address.  --size N --host ADDRESS (127.0.0.1)
//   counts    requests that all of its nodes have had so far, by the name of their command
const { COMMANDS } = require('hyperdht/lib/constants')
const createTestnet = require('hyperdht/testnet')
const { emit, serve, fail, options } = require('./lib/lines')

function countRequests (nodes) {
  const names = Object.fromEntries(Object.entries(COMMANDS).map(([name, number]) => [number, name.toLowerCase()]))
  const counts = {}
  for (const node of nodes) {
    const onrequest = node.onrequest
    node.onrequest = (request) => {
      const name = names[request.command]
      counts[name] = (counts[name] || 0) + 1
      return onrequest.call(node, request)
    }
  }
  return counts
}

async function main () {
  const { size: [size] = ['4'], host: [host] = ['127.0.0.1'] } = options()
  const testnet = await createTestnet(Number(size), { host })
  const counts = countRequests(testnet.nodes)
  serve({ counts: async () => counts }, () => testnet.destroy())
  emit('ready', { bootstrap: testnet.bootstrap.map(({ host, port }) => `${host}:${port}`) })
}

main().catch(fail)
