/** Above the content: a model that cannot be used, a new version of the page. */

import { modelFailure, loadModel } from "../state/model";
import { update, waiting } from "../state/offline";
import { text } from "../texts";

export function Notices() {
  const failure = modelFailure.value;
  return (
    <div class="banners">
      {failure && (
        <div class="note bad banner" role="alert" data-model-failure>
          <div>
            <p class="note-title">{text("model.failed")}</p>
            <p lang="en">{failure.message}</p>
          </div>
          <button type="button" class="button" onClick={() => void loadModel()}>
            {text("model.retry")}
          </button>
        </div>
      )}
      {waiting.value && (
        <div class="note good banner" role="status">
          <p>{text("offline.update")}</p>
          <button type="button" class="button" onClick={update}>
            {text("offline.show")}
          </button>
        </div>
      )}
    </div>
  );
}
