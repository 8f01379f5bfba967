/** Entry of the workbench. */

import { render } from "preact";

import { App } from "./components/App";
import { reload, startPage } from "./state/page";
import { watchServer } from "./state/server";
import { startSettings } from "./state/settings";
import { watchCandles } from "./state/staleness";
import { parseAddress } from "./state/url";

const address = parseAddress(location.search);
await startSettings(address.settings);
render(<App />, document.getElementById("app")!);
watchServer(() => void reload());
watchCandles();
await startPage(address);
