/**
 * Loaded into a program before it starts (`node --import`), this has `wrangler` say that its configuration is what the
 * environment variable SAMPLE_SETTINGS holds, whatever the file. To load Wrangler takes more of a core than all that a doctor does.
 */
import { registerHooks } from "node:module";

const source = `
  const settings = JSON.parse(process.env.SAMPLE_SETTINGS);
  export const unstable_readConfig = () => settings;
`;

registerHooks({
  resolve: (specifier, context, next) =>
    specifier === "wrangler"
      ? { url: `data:text/javascript,${encodeURIComponent(source)}`, shortCircuit: true }
      : next(specifier, context),
});
