// Runs the official libraries of another age: `use('10.38')` before anything of them is required.
const Module = require('module')

const AGES = {
  10.38: { hypercore: 'hypercore-10', corestore: 'corestore-6', autobase: 'autobase-6' },
  11.37: {},
  11.39: { hypercore: 'hypercore-11-39' }
}

function use (version) {
  const names = AGES[version]
  if (!names) throw new Error(`no hypercore ${version} is installed`)
  const resolve = Module._resolveFilename
  Module._resolveFilename = function (request, ...rest) {
    return resolve.call(this, Object.hasOwn(names, request) ? resolve.call(this, names[request], module) : request, ...rest)
  }
}

module.exports = { use }
