// A DHT of a few nodes on 127.0.0.1.  --size N
const createTestnet = require('hyperdht/testnet')
const { emit, serve, fail, options } = require('./lib/lines')

async function main () {
  const { size: [size] = ['4'] } = options()
  const testnet = await createTestnet(Number(size))
  serve({}, () => testnet.destroy())
  emit('ready', { bootstrap: testnet.bootstrap.map(({ host, port }) => `${host}:${port}`) })
}

main().catch(fail)
