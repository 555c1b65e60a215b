// Bundles the scripts into dist/: the agent, the recorder that it fetches when needed (named after its content, so that it
// may be kept for ever), and the player. esbuild bundles and minifies; types are tsc's business (npm run check).
import { createHash } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { build } from 'esbuild';

const AGENT_LIMIT = 10_000;

async function bundle(entry, options = {}) {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    format: 'iife',
    target: ['chrome100', 'firefox100', 'safari15.4'],
    legalComments: 'none',
    logLevel: 'warning',
    ...options,
  });
  return outputFiles[0].contents;
}

const recorder = await bundle('src/record/record.ts', { globalName: 'tovplayRecorder' });
const recorderFile = `recorder-${createHash('sha256').update(recorder).digest('hex').slice(0, 16)}.js`;
const agent = await bundle('src/agent/agent.ts', { define: { RECORDER_FILE: JSON.stringify(recorderFile) } });
if (agent.length >= AGENT_LIMIT) throw new Error(`the agent has ${agent.length} bytes; ${AGENT_LIMIT} is the limit`);

const files = {
  'agent.js': agent,
  [recorderFile]: recorder,
  'replay.js': await bundle('src/replay/replay.ts'),
  'player.js': await bundle('src/replay/player.ts'),
  'player.css': await bundle('src/replay/player.css'),
  'replay.css': await bundle('src/replay/replay.css'),
};
await rm('dist', { recursive: true, force: true });
await mkdir('dist');
for (const [name, contents] of Object.entries(files)) {
  await writeFile(`dist/${name}`, contents);
  console.log(`${name.padEnd(30)} ${contents.length} bytes`);
}
