// Opens every vector of vectors.json as docs/protocol.md says: a second implementation, which shares no code with the first.
//
//	node open.mjs vectors.json
//
// Prints one line for each vector and ends with status 1 if any came out other than expected.
import { readFileSync } from 'node:fs'
import { argv, exit, stdout } from 'node:process'
import { sha3_256 } from '@noble/hashes/sha3.js'
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js'

const { subtle } = globalThis.crypto
const text = new TextEncoder()
const sha = { hash: 'SHA-256' }

class Failure extends Error {}
const fail = (word) => { throw new Failure(word) }

// --- bytes -------------------------------------------------------------------------------------------------------------

const hex = (b) => Buffer.from(b).toString('hex')
const unhex = (s) => new Uint8Array(Buffer.from(s ?? '', 'hex'))
const same = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0
const concat = (...parts) => new Uint8Array(Buffer.concat(parts.map((p) => (typeof p === 'string' ? text.encode(p) : p))))
const uint = (value, size) => Uint8Array.from({ length: size }, (_, i) => Number((BigInt(value) >> BigInt(8 * (size - 1 - i))) & 255n))
const lp = (b) => { b = typeof b === 'string' ? text.encode(b) : b; return concat(uint(b.length, 4), b) }
const sha256 = async (b) => new Uint8Array(await subtle.digest('SHA-256', b))

// Reader takes fields off the front; what is too short or over a bound fails with the given word.
class Reader {
  constructor(bytes, word) { this.rest = bytes; this.word = word }
  take(n) {
    if (this.rest.length < n) fail(this.word)
    const field = this.rest.subarray(0, n)
    this.rest = this.rest.subarray(n)
    return field
  }
  uint(n) { return this.take(n).reduce((v, byte) => v * 256n + BigInt(byte), 0n) }
  byte() { return Number(this.uint(1)) }
  time() { const t = this.uint(8); if (t > 253402300799999n) fail(this.word); return Number(t) }
  lp(max) { const n = Number(this.uint(4)); if (n > max) fail(this.word); return this.take(n) }
  text(max) {
    try { return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.lp(max)) } catch { return fail(this.word) }
  }
  end() { if (this.rest.length) fail(this.word) }
}

// --- keys --------------------------------------------------------------------------------------------------------------

const peerPrefix = unhex('002408011220')
const peerID = (b, word) => (b.length === 38 && same(b.subarray(0, 6), peerPrefix) ? b : fail(word))

const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
const base58 = (b) => {
  let digits = ''
  for (let v = BigInt('0x' + (hex(b) || '0')); v > 0n; v /= 58n) digits = alphabet[Number(v % 58n)] + digits
  let zeros = 0
  while (b[zeros] === 0) zeros++
  return '1'.repeat(zeros) + digits
}

// DER of an RSAPublicKey of 3072 bits and exponent 65537 has one possible form around its modulus.
const pkcs1Head = unhex('3082018a0282018100')
const pkcs1Tail = unhex('0203010001')
const spkiHead = unhex('308201a2300d06092a864886f70d01010105000382018f00')

const checkPKCS1 = (der, word) => {
  if (der.length !== 398 || !same(der.subarray(0, 9), pkcs1Head) || !same(der.subarray(393), pkcs1Tail)) fail(word)
  const n = BigInt('0x' + hex(der.subarray(9, 393)))
  if (n >> 3071n !== 1n) fail(word)
  for (const p of primes) if (n % p === 0n) fail(word)
  return der
}

const primes = []
const composite = new Uint8Array(65536)
for (let p = 2; p < 65536; p++) {
  if (composite[p]) continue
  primes.push(BigInt(p))
  for (let q = 2 * p; q < 65536; q += p) composite[q] = 1
}

const identityKey = async (spki, word) => {
  if (spki.length !== 422 || !same(spki.subarray(0, 24), spkiHead)) fail(word)
  checkPKCS1(spki.subarray(24), word)
  return {
    fingerprint: await sha256(spki),
    key: await subtle.importKey('spki', spki, { name: 'RSA-PSS', ...sha }, false, ['verify']),
  }
}

// verify: WebCrypto hashes by itself, so it takes domain || NUL || message.
const verify = async (identity, domain, message, sig, word) => {
  const good = await subtle.verify({ name: 'RSA-PSS', saltLength: 32 }, identity.key, sig, concat(domain, uint(0, 1), message))
  if (!good) fail(word)
}

// --- key file ----------------------------------------------------------------------------------------------------------

const openKeyFile = async (pem) => {
  const blocks = [...pem.matchAll(/-----BEGIN ([A-Z ]+)-----\n([A-Za-z0-9+/=\n]+)-----END \1-----\n/g)]
    .map(([, kind, body]) => ({ kind, bytes: new Uint8Array(Buffer.from(body, 'base64')) }))
  const next = (kind) => { const b = blocks.shift(); return b?.kind === kind ? b.bytes : fail('damaged') }
  const header = new Reader(next('BYWAY KEY FILE'), 'damaged')
  if (header.byte() !== 1) fail('damaged')
  const count = header.byte()
  const identity = await publicOf(next('PRIVATE KEY'))
  const host = next('PRIVATE KEY').subarray(-32) // the seed ends the PKCS#8 form of an Ed25519 key
  const encryption = []
  for (let i = 0; i < count; i++) {
    const pkcs8 = next('PRIVATE KEY')
    const mlkem = next('PRIVATE KEY')
    if (!same(mlkem.subarray(0, 22), unhex('3054020100300b060960864801650304040204428040'))) fail('damaged')
    const { publicKey: ek, secretKey: dk } = ml_kem768.keygen(mlkem.subarray(22))
    const pkcs1 = (await publicOf(pkcs8)).subarray(24)
    const rsa = await subtle.importKey('pkcs8', pkcs8, { name: 'RSA-OAEP', ...sha }, false, ['decrypt'])
    encryption.push({ created: header.time(), pkcs1, ek, dk, rsa, kid: (await sha256(concat(pkcs1, ek))).subarray(0, 8) })
  }
  header.end()
  if (next('BYWAY STORAGE KEY').length !== 32 || blocks.length) fail('damaged')
  return { ...(await identityKey(identity, 'damaged')), host: concat(peerPrefix, await ed25519Public(host)), encryption }
}

// publicOf returns the SubjectPublicKeyInfo of an RSA key in PKCS#8.
const publicOf = async (pkcs8) => {
  const key = await subtle.importKey('pkcs8', pkcs8, { name: 'RSA-PSS', ...sha }, true, ['sign'])
  const { kty, n, e } = await subtle.exportKey('jwk', key)
  const open = await subtle.importKey('jwk', { kty, n, e }, { name: 'RSA-PSS', ...sha }, true, ['verify'])
  return new Uint8Array(await subtle.exportKey('spki', open))
}

const ed25519Public = async (seed) => {
  const pkcs8 = concat(unhex('302e020100300506032b657004220420'), seed)
  const key = await subtle.importKey('pkcs8', pkcs8, 'Ed25519', true, ['sign'])
  return new Uint8Array(Buffer.from((await subtle.exportKey('jwk', key)).x, 'base64url'))
}

// --- envelopes ---------------------------------------------------------------------------------------------------------

const unpad = (padded) => {
  let end = padded.length
  while (end > 0 && padded[end - 1] === 0) end--
  if (end === 0 || padded[end - 1] !== 0x80) fail('open')
  return padded.subarray(0, end - 1)
}

const openGCM = async (key, nonce, sealed, header) => {
  const aes = await subtle.importKey('raw', key, 'AES-GCM', false, ['decrypt'])
  try {
    return new Uint8Array(await subtle.decrypt({ name: 'AES-GCM', iv: nonce, additionalData: header }, aes, sealed))
  } catch { return fail('open') }
}

const openInit = async (envelope, me, myName, identities) => {
  if (envelope.length > 81920) fail('open')
  const r = new Reader(envelope, 'open')
  if (r.byte() !== 1 || r.byte() !== 1 || r.byte() !== 1) fail('open')
  const extension = Number(r.uint(2))
  if (extension > 4096) fail('open')
  r.take(extension)
  const kid = r.take(8), c1 = r.take(384), c2 = r.take(1088)
  const header = envelope.subarray(0, envelope.length - r.rest.length)
  const mine = me.encryption.find((k) => same(k.kid, kid)) ?? fail('open')

  const steps = await initKeys(mine, header, c1, c2)
  const inner = new Reader(await openGCM(steps.key, steps.nonce, r.rest, header), 'open')
  const name = inner.text(128), fingerprint = inner.take(32), time = inner.time()
  const prev = inner.take(16), count = inner.uint(8), checkpoint = inner.lp(2048)
  const sig = inner.take(384), payload = unpad(inner.rest)

  const device = identities.findIndex((k) => same(k.fingerprint, fingerprint))
  if (device < 0) fail('open')
  const signed = concat(
    lp(header), lp(name), lp(fingerprint), lp(myName), lp(me.fingerprint), lp(uint(time, 8)), lp(prev), lp(uint(count, 8)), lp(checkpoint),
  )
  await verify(identities[device], 'byway/v1 init signature', signed, sig, 'open')
  return {
    steps,
    opened: {
      from: { name, device }, time, previous_sid: hex(prev), previous_count: Number(count), checkpoint: hex(checkpoint), payload: hex(payload),
    },
  }
}

const initKeys = async (mine, header, c1, c2) => {
  let z = globalThis.crypto.getRandomValues(new Uint8Array(32)) // for a c1 that does not open
  try {
    const opened = new Uint8Array(await subtle.decrypt({ name: 'RSA-OAEP' }, mine.rsa, c1))
    if (opened.length === 32) z = opened
  } catch { /* the tag will fail */ }
  const kss = ml_kem768.decapsulate(c2, mine.dk)
  const ss = sha3_256(concat(kss, z, c1, mine.pkcs1, 'MLKEM768-RSAOAEP3072'))
  const sum = await sha256(header)
  const secret = await subtle.importKey('raw', ss, 'HKDF', false, ['deriveBits'])
  const info = concat('byway/v1 init', sum)
  const out = new Uint8Array(await subtle.deriveBits({ name: 'HKDF', ...sha, salt: new Uint8Array(), info }, secret, 76 * 8))
  return { sid: sum.subarray(0, 16), ss, key: out.subarray(0, 32), nonce: out.subarray(32, 44), ck_1: out.subarray(44) }
}

// hkdfExpand: WebCrypto has HKDF only as a whole, so the expansion is three steps of HMAC (RFC 5869).
const hkdfExpand = async (prk, info, size) => {
  const key = await subtle.importKey('raw', prk, { name: 'HMAC', ...sha }, false, ['sign'])
  let out = new Uint8Array(), block = new Uint8Array()
  for (let i = 1; out.length < size; i++) {
    block = new Uint8Array(await subtle.sign('HMAC', key, concat(block, info, uint(i, 1))))
    out = concat(out, block)
  }
  return out.subarray(0, size)
}

class Session {
  constructor({ sid, ck_1 }) { this.sid = sid; this.chain = ck_1; this.next = 1n; this.skipped = new Map() }

  async open(envelope) {
    const r = new Reader(envelope, 'open')
    if (envelope.length > 81920 || r.byte() !== 1 || r.byte() !== 2 || !same(r.take(16), this.sid)) fail('open')
    const n = uvarint(r)
    const header = envelope.subarray(0, envelope.length - r.rest.length)
    if (n === 0n) fail('open')
    if (n < this.next) {
      const kept = this.skipped.get(n) ?? fail('replayed')
      const payload = unpad(await openGCM(kept.key, kept.nonce, r.rest, header))
      this.skipped.delete(n)
      return payload
    }
    if (n - this.next + BigInt(this.skipped.size) > 1000n) fail('open')
    let chain = this.chain
    const passed = []
    for (let i = this.next; ; i++) {
      const out = await hkdfExpand(chain, 'byway/v1 msg', 76)
      chain = out.subarray(0, 32)
      passed.push([i, { key: out.subarray(32, 64), nonce: out.subarray(64) }])
      if (i === n) break
    }
    const [, { key, nonce }] = passed.pop()
    const payload = unpad(await openGCM(key, nonce, r.rest, header))
    for (const [i, kept] of passed) this.skipped.set(i, kept)
    this.chain = chain
    this.next = n + 1n
    return payload
  }
}

const uvarint = (r) => {
  let v = 0n
  for (let shift = 0n; ; shift += 7n) {
    const byte = r.byte()
    v |= BigInt(byte & 127) << shift
    if (v >> 64n || (shift > 0n && byte === 0)) fail('open')
    if (byte < 128) return v
  }
}

// --- signed records ----------------------------------------------------------------------------------------------------

const refused = 'key-refused'

const split = (record, max) => {
  if (record.length <= 384 || record.length > max) fail(refused)
  return [record.subarray(0, -384), record.subarray(-384)]
}

const subject = (r) => {
  if (r.byte() !== 1) fail(refused)
  return { rendezvous: base58(peerID(r.lp(38), refused)), username: r.text(128) }
}

const sequence = (r) => { const seq = r.uint(8); return seq > 0n && seq < 1n << 63n ? Number(seq) : fail(refused) }

const openEntry = async (record, identities) => {
  const [body, sig] = split(record, 8192)
  const r = new Reader(body, refused)
  const entry = subject(r)
  entry.seq = sequence(r)
  entry.times = [r.time()]
  const devices = []
  const count = r.byte()
  if (count < 1 || count > 8) fail(refused)
  for (let i = 0; i < count; i++) {
    const identity = await identityKey(r.lp(422), refused)
    devices.push({ ...identity, peer: hex(peerID(r.lp(38), refused)) })
    entry.times.push(r.time())
  }
  const signer = r.take(32)
  r.end()
  if (new Set(devices.map((d) => hex(d.fingerprint))).size < count || new Set(devices.map((d) => d.peer)).size < count) fail(refused)
  const by = devices.find((d) => same(d.fingerprint, signer)) ?? fail(refused)
  await verify(by, 'byway/v1 directory entry', body, sig, refused)
  const index = (f) => identities.findIndex((k) => same(k.fingerprint, f))
  entry.devices = devices.map((d) => index(d.fingerprint))
  entry.device = index(signer)
  return entry
}

const openBundle = async (record, me) => {
  const [body, sig] = split(record, 4096)
  await verify(me, 'byway/v1 prekey bundle', body, sig, refused)
  const r = new Reader(body, refused)
  const bundle = subject(r)
  if (!same(r.take(32), me.fingerprint)) fail(refused)
  if (!same(peerID(r.lp(38), refused), me.host)) fail(refused)
  bundle.seq = sequence(r)
  bundle.times = [r.time(), r.time()]
  if (bundle.times[0] >= bundle.times[1] || r.byte() !== 1) fail(refused)
  const pkcs1 = checkPKCS1(r.lp(398), refused), ek = r.lp(1184)
  r.end()
  if (!same(pkcs1, me.encryption[0].pkcs1) || !same(ek, me.encryption[0].ek)) fail(refused)
  return bundle
}

const unbase58 = (s) => {
  let v = 0n
  for (const c of s) v = v * 58n + BigInt(alphabet.indexOf(c))
  return concat(new Uint8Array(s.length - s.replace(/^1+/, '').length), unhex(v.toString(16).padStart(2 * Math.ceil(v.toString(16).length / 2), '0')))
}

// --- safety number -----------------------------------------------------------------------------------------------------

const sha512 = async (b) => new Uint8Array(await subtle.digest('SHA-512', b))

const safetyHalf = async (name, fingerprints) => {
  const first = await sha512(concat('byway/v1 safety number', uint(0, 1), lp(name), ...fingerprints.sort(Buffer.compare).map(lp)))
  let h = first
  for (let i = 1; i < 5200; i++) h = await sha512(concat(h, first))
  const r = new Reader(h, 'open')
  return Array.from({ length: 6 }, () => String(r.uint(5) % 100000n).padStart(5, '0')).join(' ')
}

// --- the vectors -------------------------------------------------------------------------------------------------------

const differs = (got, want) => {
  for (const [key, value] of Object.entries(got)) {
    const a = JSON.stringify(value), b = JSON.stringify(want[key] ?? (typeof value === 'number' ? 0 : ''))
    if (a !== b) fail(`${key} is ${a}, not ${b}`)
  }
}

const sessions = new Map()

const kinds = {
  async init(v, keys) {
    const { steps, opened } = await openInit(unhex(v.envelope), keys[v.recipient.device], v.recipient.name, keys)
    differs(opened, v.opened)
    differs(Object.fromEntries(Object.entries(steps).map(([k, b]) => [k, hex(b)])), v.steps)
    sessions.set(v.id, new Session(steps))
  },
  async msg(v) { differs({ payload: hex(await sessions.get(v.init).open(unhex(v.envelope))) }, v) },
  async entry(v, keys) { differs(await openEntry(unhex(v.record), keys), v) },
  async bundle(v, keys) { differs(await openBundle(unhex(v.record), keys[v.device ?? 0]), v) },
  async possession(v, keys) {
    const me = keys[v.device ?? 0]
    const signed = concat(lp(unbase58(v.rendezvous)), lp(v.username), lp(me.host), lp(unhex(v.nonce)))
    await verify(me, 'byway/v1 possession', signed, unhex(v.record), refused)
  },
  async 'safety-number'(v, keys) {
    const halves = await Promise.all(v.users.map((u) => safetyHalf(u.name, u.devices.map((d) => keys[d].fingerprint))))
    differs({ number: halves.sort().join(' ') }, v)
  },
  async password(v) { // Argon2 is not in WebCrypto; the record's form is checked here, its hash by the program's own test
    if (!/^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/.test(v.phc)) fail('not a record')
  },
}

const { keyrings, vectors } = JSON.parse(readFileSync(argv[2] ?? 'vectors.json', 'utf8'))
const keys = await Promise.all(keyrings.map((k) => openKeyFile(k.key_file)))
let failed = 0
keys.forEach((k, i) => differs({ fingerprint: hex(k.fingerprint), kid: hex(k.encryption[0].kid), peer_id: base58(k.host) }, keyrings[i]))
for (const v of vectors) {
  let got = 'ok'
  try {
    await kinds[v.kind](v, keys)
  } catch (err) {
    if (!(err instanceof Failure)) throw err
    got = err.message
  }
  if (got !== v.expect) failed++
  stdout.write(`${got === v.expect ? 'ok  ' : 'FAIL'} ${v.id}: ${got}${got === v.expect ? '' : `, expected ${v.expect}`}\n`)
}
stdout.write(`${vectors.length - failed} passed, ${failed} failed\n`)
exit(failed ? 1 : 0)
